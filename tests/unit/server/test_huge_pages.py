"""The server starts again once, told to use huge pages, where that helps; and tells nobody else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server import huge_pages
from server.huge_pages import use_huge_pages

ON = "glibc.malloc.hugetlb=1"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine of glibc that gives them to who asks; what was started there, and with which word."""
    asked: dict[str, Any] = {}

    def start(program: str, words: list[str]) -> None:
        asked.update(program=program, words=words, said=os.environ.get("GLIBC_TUNABLES"))
        raise OSError("not here")

    monkeypatch.setattr(huge_pages, "_POLICY", tmp_path / "enabled")
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.39"))
    monkeypatch.setattr("os.execv", start)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    return asked


@pytest.mark.parametrize(("before", "told"), [(None, ON), ("glibc.malloc.perturb=1", f"glibc.malloc.perturb=1:{ON}")])
def test_it_starts_again_and_goes_on_as_it_is_where_it_cannot(
    asked: dict[str, Any], before: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    use_huge_pages()
    assert asked == {"program": sys.executable, "words": [sys.executable, *sys.orig_argv[1:]], "said": told}
    assert os.environ.get("GLIBC_TUNABLES") == before


@pytest.mark.parametrize(
    ("said", "left"),
    [(ON, None), (f"glibc.malloc.perturb=1:{ON}", "glibc.malloc.perturb=1"), ("glibc.malloc.hugetlb=0",) * 2],
)
def test_one_that_was_told_goes_on_and_tells_no_other(
    asked: dict[str, Any], said: str, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", said)
    use_huge_pages()
    assert asked == {}
    assert os.environ.get("GLIBC_TUNABLES") == left


@pytest.mark.parametrize("policy", ["[always] madvise never\n", "always madvise [never]\n", None])
def test_nothing_is_started_where_it_would_not_help(asked: dict[str, Any], policy: str | None, tmp_path: Path) -> None:
    if policy is None:
        (tmp_path / "enabled").unlink()
    else:
        (tmp_path / "enabled").write_text(policy)
    use_huge_pages()
    assert asked == {}


def test_nothing_is_started_with_another_libc(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    use_huge_pages()
    assert asked == {}


def test_a_process_stays_the_same_and_its_words_too() -> None:
    program = """
import os, sys
from server.huge_pages import use_huge_pages
print(os.getpid(), sys.argv[1:], flush=True)
use_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"))
"""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", program, "--port", "0"]
    process = subprocess.Popen(command, env=environment | {"PYTHONPATH": str(Path.cwd())}, stdout=subprocess.PIPE)
    told, _ = process.communicate(timeout=120)
    *starts, after = told.decode().splitlines()
    # Once more at the most: this machine decides whether.
    assert set(starts) == {f"{process.pid} ['--port', '0']"}
    assert len(starts) <= 2
    assert after == "None"
