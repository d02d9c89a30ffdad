from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.train.cases import open_bare, open_method
from benchmarks.train.plan import INPUT_PARTS, Part, Plan
from benchmarks.train.spans import CpuClock, Timeline
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.jobs import PretrainJob
from detco_core.data.synthetic import write_photos
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import make_trainer

PLAN = Plan(preset="detco_r18", kind="cpu", precision="fp32", batch=4, threads=1, log_every=1, workers=0, small=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 4, size=(64, 48))
    return folder


@pytest.mark.slow
def test_rounds_go_on_where_the_last_ended_see_every_part_and_touch_no_number(photos: Path, tmp_path: Path) -> None:
    timeline: Timeline[Any] = Timeline(CpuClock())
    with open_method(PLAN, photos, tmp_path / "marked", timeline) as marked:
        marked.run(1)
        assert marked.trainer.done == 1
        marked.run(1)
    assert marked.trainer.done == 2
    assert set(timeline.take()) == set(Part) - set(INPUT_PARTS)
    assert not (tmp_path / "marked" / "checkpoints").exists()

    with Reporter(tmp_path / "plain") as reporter:
        dataset = DatasetRef(name="photos@1", kind="images", root=str(photos))
        job = PretrainJob(folder=str(tmp_path / "plain"), config=PLAN.config, dataset=dataset)
        plain = make_trainer(job, reporter, StopRequest(), PLAN.device)
        for _ in range(2):
            plain.step(next(plain.batches))
        plain.batches.close()
    for name, value in marked.trainer.stepper.run.method.state_dict().items():
        torch.testing.assert_close(value, plain.stepper.run.method.state_dict()[name], rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_the_bare_passes_are_timed_and_leave_gradients() -> None:
    timeline: Timeline[Any] = Timeline(CpuClock())
    case = open_bare(PLAN, timeline)
    case.run(1)

    assert set(timeline.take()) == {Part.QUERY_FORWARD, Part.QUERY_BACKWARD, Part.KEY_FORWARD}
    gradients = [p.grad for p in case.network.parameters()]
    assert all(g is not None and g.abs().max() > 1e-8 for g in gradients)
