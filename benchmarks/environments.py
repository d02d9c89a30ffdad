"""Environments for packages that cannot live beside ours, made from requirement files that pin every version."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_READY = ".made-from"
"""Holds the digest of the requirements that are installed."""


class NoEnvironment(RuntimeError):
    """The packages cannot be installed."""


def environment(home: Path, wanted: Path) -> Path:
    """The folder `home` with the packages that the file `wanted` names; made anew when those are others.

    Takes uv where it is, beside this Python or on the path, else venv and pip.

    Raises:
        NoEnvironment: with the installer's last words.
    """
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    ready = home / _READY
    if not ready.exists() or ready.read_text("utf-8") != digest:
        shutil.rmtree(home, ignore_errors=True)
        _install(home, wanted)
        ready.write_text(digest, "utf-8")
    return home


def _install(home: Path, wanted: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    python = str(home / "bin/python")
    if uv is not None:
        steps = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "--quiet", "--python", python, "-r", str(wanted)],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(home)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoEnvironment(f"{wanted.name} cannot be installed: {done.stderr.strip()[-500:]}")
