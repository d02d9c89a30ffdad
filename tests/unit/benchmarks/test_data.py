"""The benchmark of large data sets, on a small one: its stages hand on what the next one reads."""

from pathlib import Path

from benchmarks.data import STAGES, stage


def test_the_stages_on_a_few_files(tmp_path: Path) -> None:
    found = {name: stage(name, tmp_path, 3000) for name in STAGES if name != "sample"}
    assert {(found["list"]["files"], found["open"]["files"])} == {(3000, 3000)}
    assert found["describe"]["bytes"] == (tmp_path / "manifest.jsonl").stat().st_size
    assert found["open"]["held_mb"] < 20
