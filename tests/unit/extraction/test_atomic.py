"""Whole or not at all."""

from pathlib import Path

import pytest

from detco_core.extraction.atomic import Writing, describe, stored, stored_text


def test_size_and_digest_are_those_of_the_file(tmp_path: Path) -> None:
    assert stored_text(tmp_path / "a", "grün\n") == describe(tmp_path / "a")
    assert (tmp_path / "a").read_text("utf-8") == "grün\n"


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    stored_text(tmp_path / "a", "before")

    def fails(file: Writing) -> None:
        file.write(b"half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        stored(tmp_path / "a", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"
