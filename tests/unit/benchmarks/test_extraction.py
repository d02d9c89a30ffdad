"""The benchmark of extraction runs, small, and says a line of each side."""

import pytest

from benchmarks.extraction import main


@pytest.mark.slow
def test_both_sides_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--images", "3", "--rounds", "1", "--tiny"])
    head, bare, job = capsys.readouterr().out.splitlines()
    assert head.startswith("3 JPEGs of 640x480")
    assert bare.split()[:2] == ["bare", "runtime"]
    assert "1.00x" in bare
    assert job.split()[:2] == ["extraction", "job"]
