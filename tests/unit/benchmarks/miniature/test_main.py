import json
from pathlib import Path

import pytest

from benchmarks.miniature.__main__ import main


def words(stamps: Path, folder: Path, *more: str) -> list[str]:
    return [
        "--data",
        str(stamps),
        "--work",
        str(folder / "work"),
        "--results",
        str(folder),
        "--methods",
        "random",
        *more,
    ]


@pytest.mark.slow
def test_random_weights_alone_give_a_page_and_a_document(
    stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(stamps, tmp_path, "--first-seed", "5", "--seeds", "1"))

    assert "| random | 1 |" in (tmp_path / "miniature-cpu.md").read_text("utf-8")
    found = json.loads((tmp_path / "miniature-cpu.json").read_text("utf-8"))
    assert [run["seed"] for run in found["results"]["random"]] == [5]
    assert found["facts"]["images"] == 8
    assert "random 5: k-NN" in capsys.readouterr().out


@pytest.mark.slow
def test_when_the_time_is_over_no_further_entry_is_started_and_kept_ones_are_told(
    stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(stamps, tmp_path, "--seeds", "1"))
    main(words(stamps, tmp_path, "--seeds", "3", "--minutes", "0"))

    assert "| random | 1 |" in (tmp_path / "miniature-cpu.md").read_text("utf-8")
    assert "the time is over" in capsys.readouterr().out
