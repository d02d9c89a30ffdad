"""Whether packages cannot be fetched, or what was asked for is wrong: told apart, in a script and in earnest."""

import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.environments import Command, Installer, NoEnvironment, OutOfReach, environment, installer, make

SETTINGS = {
    **{"UV_NO_CONFIG": "1", "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0", "UV_NO_PROGRESS": "1", "NO_PROXY": "127.0.0.1"},
    **{"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"},
}
"""Of uv and pip: nothing but the index that is named, and asked once."""
OTHERS = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
TOOLS = Installer(create=("create",), install=("install",), ask=("ask",))


class Script:
    """Exit statuses of each command, one after the other; the last again and again."""

    def __init__(self, **exits: list[int]) -> None:
        self._exits = exits
        self.ran: list[str] = []

    def __call__(self, command: Command, given: str) -> "subprocess.CompletedProcess[str]":
        self.ran.append(command[0])
        left = self._exits.get(command[0], [0])
        code = left.pop(0) if len(left) > 1 else left[0]
        return subprocess.CompletedProcess(command, code, "", f"{command[0]} failed with {code}")


@pytest.mark.parametrize(
    ("script", "ran"),
    [
        (Script(), "create install"),
        # A transfer that broke, while others come through.
        (Script(install=[1, 0]), "create install ask install"),
    ],
)
def test_what_comes_in_the_end_is_taken(script: Script, ran: str) -> None:
    make(TOOLS, Path("wanted.txt"), script)
    assert script.ran == ran.split()


@pytest.mark.parametrize(
    ("script", "error", "word"),
    [
        (Script(install=[2], ask=[7]), OutOfReach, "ask failed with 7"),
        # The network goes away between two tries.
        (Script(install=[2], ask=[0, 7]), OutOfReach, "ask failed with 7"),
        (Script(install=[2]), NoEnvironment, "wanted.txt cannot be installed.*install failed with 2"),
        (Script(create=[3]), NoEnvironment, "cannot be created: create failed with 3"),
        # Not even an environment: no network is to blame for that.
        (Script(create=[3], ask=[7]), NoEnvironment, "create failed with 3"),
    ],
)
def test_the_cause_is_named(script: Script, error: type[NoEnvironment], word: str) -> None:
    with pytest.raises(NoEnvironment, match=word) as caught:
        make(TOOLS, Path("wanted.txt"), script)
    assert type(caught.value) is error


def test_without_uv_it_is_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    tools = installer(tmp_path)
    assert all("pip" in command for command in (tools.install, tools.ask))
    assert tools.install[0] == str(tmp_path / "bin/python")


def wheel(folder: Path, name: str) -> None:
    """What an index of static files has of a package; as much of one as is read without installing it."""
    place = folder / "simple" / name
    place.mkdir(parents=True)
    file = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place / file, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    (place / "index.html").write_text(f'<html><body><a href="{file}">{file}</a></body></html>', "utf-8")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        pass


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """Its address for as long as the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_the_installer_here_tells_a_wrong_file_from_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packaging", "tiny"):
        wheel(tmp_path / "index", name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    wanted = tmp_path / "wanted.txt"
    with index(tmp_path / "index") as url:
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            monkeypatch.setenv(name, url)
        wanted.write_text("tiny==2.0\n", "utf-8")
        with pytest.raises(NoEnvironment, match=r"tiny==2\.0") as caught:
            environment(tmp_path / "home", wanted)
        assert not isinstance(caught.value, OutOfReach)
    wanted.write_text("tiny==1.0\n", "utf-8")
    with pytest.raises(OutOfReach):
        environment(tmp_path / "home", wanted)
