from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.miniature.recipe import PROFILES, Profile
from benchmarks.miniature.runs import Comparison, check_ended_well, newest_checkpoint
from benchmarks.miniature.stamps import labelled, unlabelled
from detco_core.contract.events import CheckpointSaved, Finished, Started, decode
from detco_core.contract.jobs import EVENTS_FILE
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import run

TINY = Profile(
    name="tiny",
    epochs=1,
    image_size=32,
    overrides={
        "train.batch_size": 4,
        "data.workers": 0,
        "views.global_size": 32,
        "views.local_size": 48,
        "views.patch_size": 16,
        "method.queue_size": 8,
        "method.local_head": "pirl",
    },
)


@pytest.fixture
def comparison(stamps: Path, tmp_path: Path) -> Comparison:
    return Comparison(
        profile=TINY, device="cpu", images=unlabelled(stamps, tmp_path), classify=labelled(stamps), work=tmp_path
    )


@pytest.mark.slow
def test_a_result_is_made_once(comparison: Comparison) -> None:
    entry = comparison.entry("random", 0)
    assert entry.kept is None

    made = comparison.result(entry)
    assert 0 <= made["knn"] <= 100
    assert len(made["few_labels"]) == 5

    entry.keep({**made, "knn": -1.0})
    assert comparison.result(comparison.entry("random", 0))["knn"] == -1.0


def test_every_seed_method_and_recipe_has_a_folder_of_its_own(comparison: Comparison) -> None:
    entries = [
        comparison.entry("random", 0),
        comparison.entry("detco", 0),
        comparison.entry("detco", 1),
        comparison.entry("moco_v2", 0),
        replace(comparison, epochs=2).entry("detco", 0),
        replace(comparison, profile=replace(TINY, image_size=64)).entry("detco", 0),
        replace(comparison, profile=PROFILES["cpu"]).entry("detco", 0),
    ]
    assert len({entry.folder for entry in entries}) == len(entries)
    assert comparison.entry("detco", 0) == entries[1]


def test_the_newest_checkpoint_is_that_of_the_most_steps(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    for step in (9, 200, 30):
        (tmp_path / "checkpoints" / f"step-{step:08d}.pt").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "step-00000200.pt"


def test_pretraining_that_failed_is_told_by_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join(f"line {n}" for n in range(9)), "utf-8")

    check_ended_well(0, log)
    with pytest.raises(SystemExit, match=r"ended with 1; .*train.log ends:\nline 4\n(line \d\n){3}line 8$"):
        check_ended_well(1, log)


@pytest.mark.slow
def test_a_half_trained_entry_is_trained_to_its_end_and_evaluated(comparison: Comparison) -> None:
    entry = comparison.entry("moco_v2", 0)
    stop = StopRequest()
    stop.requested = True
    job = comparison.job(entry)
    with Reporter(entry.folder) as reporter:
        run(job, reporter, stop)

    result = comparison.result(entry)

    assert 0 <= result["knn"] <= 100
    told = [decode(line).body for line in (entry.folder / EVENTS_FILE).read_text("utf-8").splitlines()]
    assert [body.resumed_from for body in told if isinstance(body, Started)] == [None, 1]
    assert [body.step for body in told if isinstance(body, CheckpointSaved)] == [1, 2]
    assert isinstance(told[-1], Finished)
