from pathlib import Path
from typing import Any

import pytest

from examples.demo import report
from examples.demo.charts import TERMS
from examples.demo.journey import Runs, Scores


def run(step: int = 20) -> Any:
    progress = {"step": step, "steps": 20, "epoch": 5.0}
    return {"id": "run_1", "progress": progress, "config": {"method": {"queue_size": 48}}}


def evaluation(top1: float) -> Any:
    return {"report": {"protocol": "By hand.", "scores": {"top1": top1}, "details": {"chance": 1.6}}}


def story(trained: float = 30.0, random: float = 20.0, step: int = 20) -> report.Story:
    levels = [{"name": "res5", "channels": 512, "stride": 32}]
    version: Any = {
        "manifest": {"levels": levels},
        "parity": {"onnx": {"relative_error": 1e-6}},
        "weights_digest": "sha256:ab",
    }
    curves = {f"loss/{term}/{stage}": [(n, 3.0) for n in range(30)] for term in TERMS for stage in report.STAGES}
    scores = Scores(evaluation(trained), evaluation(random))
    return report.Story("64 photos", 64, 64, Runs(run(step), run(1)), curves, scores, version, {"Photos": 3.0})


@pytest.mark.parametrize(
    ("trained", "random", "words"),
    [
        (30.0, 20.0, "The trained backbone is ahead of the random one by 10.0 points"),
        (20.0, 30.0, "The random backbone is ahead by 10.0 points"),
        (20.0, 20.5, "No difference"),
    ],
)
def test_the_winner_is_named_whoever_it_is(trained: float, random: float, words: str, tmp_path: Path) -> None:
    text = report.write_summary(story(trained, random), tmp_path / "summary.md", tmp_path / "data")
    assert words in text
    assert f"| DetCo, as trained here | {trained:.1f} % |" in text
    assert f"| random weights | {random:.1f} % |" in text
    assert (tmp_path / "summary.md").read_text() == text


def test_a_run_that_was_cut_short_is_said_to_be(tmp_path: Path) -> None:
    assert "asked to finish early" in report.write_summary(story(step=12), tmp_path / "s.md", tmp_path)
    assert "asked to finish early" not in report.write_summary(story(), tmp_path / "s.md", tmp_path)


def test_the_course_of_a_loss_is_start_highest_end() -> None:
    points = [(n, float(value)) for n, value in enumerate([1] * 10 + [5] * 10 + [2] * 10)]
    assert report.loss_rows({"loss/g2g/res2": points})[0] == ["g2g (global to global)", "1.00, 5.00, 2.00"]
