"""Environments for packages that cannot live beside ours, made from requirement files that pin every version."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_READY = ".made-from"
"""Holds the digest of the requirements that are installed."""
_COMMON = "packaging"
"""What every index of packages has."""
_TRIES = 2
"""A transfer may break; what is wrong for good is wrong twice."""

Command = Sequence[str]
Run = Callable[[Command, str], "subprocess.CompletedProcess[str]"]
"""Runs a command with a text on its standard input."""


class NoEnvironment(RuntimeError):
    """The packages cannot be installed."""


class OutOfReach(NoEnvironment):
    """Nothing can be fetched here, whatever it is: that says nothing of the requirements."""


def environment(home: Path, wanted: Path) -> Path:
    """The folder `home` with the packages that the file `wanted` names; made anew when those are others.

    Takes uv where it is, beside this Python or on the path, else venv and pip.

    Raises:
        OutOfReach: no index of packages answers.
        NoEnvironment: one does, and yet it cannot be made; with the installer's last words.
    """
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    ready = home / _READY
    if not ready.exists() or ready.read_text("utf-8") != digest:
        shutil.rmtree(home, ignore_errors=True)
        make(installer(home), wanted)
        ready.write_text(digest, "utf-8")
    return home


@dataclass(frozen=True, slots=True)
class Installer:
    """Commands of one installer, in the words of its own settings: which index, through which proxy."""

    create: Command
    """The empty environment."""
    install: Command
    """What the file named after it says."""
    ask: Command
    """Find `_COMMON`, named on standard input, in the index and nowhere else; install nothing."""


def installer(home: Path) -> Installer:
    """uv where there is one, else pip."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    python = str(home / "bin/python")
    if uv is not None:
        return Installer(
            create=(uv, "venv", "--quiet", "--python", sys.executable, str(home)),
            install=(uv, "pip", "install", "--quiet", "--python", python, "-r"),
            ask=(uv, "pip", "compile", "--quiet", "--no-cache", "--python", sys.executable, "-"),
        )
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    return Installer(
        create=(sys.executable, "-m", "venv", str(home)),
        install=(*pip, "install", "-r"),
        ask=(*pip, "--no-cache-dir", "install", "--dry-run", "--ignore-installed", "--no-deps", "-r", "/dev/stdin"),
    )


def make(tools: Installer, wanted: Path, run: Run | None = None) -> None:
    """Create the environment and install; `run` runs a command.

    Raises:
        OutOfReach, NoEnvironment: see `environment`.
    """
    run = run or _run
    created = run(tools.create, "")
    if created.returncode:
        raise NoEnvironment(f"an environment cannot be created: {_last_words(created)}")
    for _ in range(_TRIES):
        done = run((*tools.install, str(wanted)), "")
        if not done.returncode:
            return
        asked = run(tools.ask, f"{_COMMON}\n")
        if asked.returncode:
            raise OutOfReach(f"no index of packages gives even {_COMMON!r}: {_last_words(asked)}")
    raise NoEnvironment(f"{wanted} cannot be installed, though packages can be fetched: {_last_words(done)}")


def _run(command: Command, given: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def _last_words(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stderr.strip()[-500:]
