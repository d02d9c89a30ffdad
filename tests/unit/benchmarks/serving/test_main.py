"""The whole benchmark on networks of a few kilobytes: its figures mean nothing then, its way is the same."""

import json
from pathlib import Path

import pytest

from benchmarks.serving.__main__ import main
from benchmarks.serving.table import FIGURES


@pytest.mark.slow
def test_it_measures_and_keeps_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tiny", "--no-peers", "--folder", str(tmp_path), "--results", str(tmp_path)]
    # What a tiny network costs is not what is promised of a ResNet-50.
    main(words)
    kept = json.loads((tmp_path / "serving.json").read_text("utf-8"))
    assert tuple(kept) == tuple(FIGURES)
    found = {name: one["found"] for name, one in kept.items()}
    assert found["corrupt"]["servers"]["detco"] == {
        "good": 60,
        "good_failed": 0,
        "damaged_told": {"415": 1, "422": 3},
    }
    assert found["burst"]["servers"]["detco"]["otherwise"] == {}
    assert (found["swaps"]["failed"], found["swaps"]["of_no_version"]) == ({}, 0)
    assert set(found["swaps"]["by_version"]) == {"1", "2"}
    ways = ["detco", "v2", "gRPC", "gRPC stream"]
    assert [list(one) for one in found["wires"]["callers"].values()] == [ways, ways]
    assert (tmp_path / "serving.md").read_text("utf-8").startswith("# Feature serving")
    assert "## Promotions" in capsys.readouterr().out
