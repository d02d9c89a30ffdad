"""What is kept of plays: a line and a section for each, however small; a sabotaged one never in another's place."""

from pathlib import Path
from typing import Any

from benchmarks.chaos.report import keep, section


def result(runs: int, **faults: list[str]) -> dict[str, Any]:
    return {
        "variant": "Separate",
        "plan": {"runs": runs, "real": 0, "interval": 1.0, "seed": 0},
        "machine": {"cpu": "a", "cores": 2, "load": 0.1, "commit": "c", "time": "t"},
        "figures": {
            "runs": runs,
            "real runs": 0,
            "runs on two hosts": 1,
            "attempts": {"completed": runs, "lost": 2},
            "blows": {"postgresql": 3, "job": 1},
        },
        "faults": {"every run is completed": [], "one writer": []} | faults,
    }


def test_every_play_has_its_line(tmp_path: Path) -> None:
    keep(section("separate", 300), result(300), tmp_path)
    keep(section("separate", 5, "fence"), result(5, **{"one writer": ["run_1: what attempt 1 said"]}), tmp_path)
    keep(section("separate", 0), result(0), tmp_path)
    lines = (tmp_path / "chaos.md").read_text("utf-8").splitlines()
    assert "| separate | 300 | 0 | 1 | 302 | 4 | all 2 hold |" in lines
    assert "| separate, 0 runs | 0 | 0 | 1 | 2 | 4 | all 2 hold |" in lines
    assert "| separate, 5 runs, without fence | 5 | 0 | 1 | 7 | 4 | **broken**: one writer |" in lines
    assert "| one writer | **1 faults**: run_1: what attempt 1 said |" in lines
    assert [line for line in lines if line.startswith("## ")] == [
        "## separate",
        "## separate, 0 runs",
        "## separate, 5 runs, without fence",
    ]
