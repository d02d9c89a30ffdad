"""Bundles are brought whole or not at all, whatever a service does, and are there when it is gone."""

import http.server
import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import read_manifest
from detco_core.inference.asking import TOKEN, ServiceAway, _SameHost
from detco_core.inference.remote import fetch_bundle
from tests.ports import reserved_port

ALIAS, FILES = "/v1/models/tiny/aliases/production", "/v1/models/tiny/versions/3/files"


class Stub(http.server.ThreadingHTTPServer):
    """Says what it is told to: status, headers and body by path."""

    daemon_threads = True

    def __init__(self, bundle: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Answers)
        self.said: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{port}"
        self.say(ALIAS, json.dumps({"version": 3}).encode())
        self.say(f"{FILES}/manifest", (bundle / "manifest.json").read_bytes())
        self.say(f"{FILES}/onnx", (bundle / "model.onnx").read_bytes())

    def say(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.said[path] = (status, {"Content-Length": str(len(body))} | headers, body)

    def cut(self, path: str) -> None:
        """Break off after ten bytes."""
        status, headers, body = self.said[path]
        self.said[path] = (status, headers, body[:10])

    def go(self) -> None:
        """Be gone from now on: nobody listens there."""
        self.shutdown()
        self.server_close()


class Answers(http.server.BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        status, headers, body = self.server.said.get(self.path, (404, {"Content-Length": "0"}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def stub(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.delenv(TOKEN, raising=False)
    with reserved_port() as port, Stub(bundle, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def held(folder: Path) -> list[str]:
    return [entry.name for entry in (folder / "bundles").iterdir()] if (folder / "bundles").exists() else []


def test_a_whole_bundle_is_fetched_once(stub: Stub, tmp_path: Path) -> None:
    first = fetch_bundle(stub.url, "tiny", "secret\n", folder=tmp_path)
    assert read_manifest(first).levels
    assert {token for _, token in stub.asked} == {"Bearer secret"}
    stub.said.pop(f"{FILES}/onnx")
    # What is here already needs no place to write to.
    os.utime(tmp_path / "bundles", (0, 0))
    assert fetch_bundle(stub.url, "tiny:03", folder=tmp_path) == first
    assert (tmp_path / "bundles").stat().st_mtime == 0
    assert held(tmp_path) == [first.name]


@pytest.mark.parametrize("damage", ["changed", "gone", "manifest"])
def test_what_was_damaged_since_is_fetched_again(stub: Stub, tmp_path: Path, bundle: Path, damage: str) -> None:
    folder = fetch_bundle(stub.url, "tiny", folder=tmp_path)
    broken = folder / ("manifest.json" if damage == "manifest" else "model.onnx")
    broken.unlink() if damage == "gone" else broken.write_bytes(b"{}")
    assert fetch_bundle(stub.url, "tiny", folder=tmp_path) == folder
    assert (folder / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert held(tmp_path) == [folder.name]


@pytest.mark.parametrize("path", [ALIAS, f"{FILES}/manifest", f"{FILES}/onnx"])
def test_an_answer_that_is_cut_leaves_nothing(stub: Stub, tmp_path: Path, path: str) -> None:
    stub.cut(path)
    with pytest.raises(ServiceAway, match="broke off"):
        fetch_bundle(stub.url, "tiny", folder=tmp_path)
    assert held(tmp_path) == []


def test_a_file_that_is_another_leaves_nothing(stub: Stub, tmp_path: Path) -> None:
    stub.say(f"{FILES}/onnx", bytes(len(stub.said[f"{FILES}/onnx"][2])))
    with pytest.raises(BundleError, match=r"came as sha256:.*; the manifest says sha256:.*: try again"):
        fetch_bundle(stub.url, "tiny", folder=tmp_path)
    assert held(tmp_path) == []


def test_other_weights_than_expected_are_not_fetched(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected were sha256:0: name the version"):
        fetch_bundle(stub.url, "tiny", None, "sha256:0", tmp_path)
    assert f"{FILES}/onnx" not in [path for path, _ in stub.asked]
    assert held(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (200, {}, b"<html>Welcome", "no answer of this service"),
        (200, {}, b"[]", "no answer of this service"),
        (401, {}, b'{"detail": "no token"}', "401 no token: give token, or set DETCO_TOKEN"),
        (503, {}, b"", "503"),
        (302, {"Location": "http://elsewhere.invalid/"}, b"", "leads to http://elsewhere.invalid/: if that is"),
    ],
)
def test_what_a_service_says_instead_is_told(
    stub: Stub, tmp_path: Path, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    stub.say(ALIAS, body, status, **headers)
    with pytest.raises(BundleError, match=words):
        fetch_bundle(stub.url, "tiny", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_token_is_not_taken_from_a_line_that_is_encrypted_to_one_that_is_not() -> None:
    asked = urllib.request.Request("https://detco.example/v1/models")
    with pytest.raises(BundleError, match="leads to http://detco"):
        _SameHost().redirect_request(asked, None, 302, "", {}, "http://detco.example/elsewhere")


def test_addresses_models_and_tokens_that_are_none(tmp_path: Path) -> None:
    for model in ("", "@production", ":3"):
        with pytest.raises(BundleError, match="names no model: it is name@alias"):
            fetch_bundle("http://127.0.0.1:1", model, folder=tmp_path)
    with pytest.raises(BundleError) as found:
        fetch_bundle("http://127.0.0.1:1", "tiny", "half\na secret", folder=tmp_path)
    assert "secret" not in str(found.value)
    with pytest.raises(BundleError, match="does not answer"):
        fetch_bundle("http://127.0.0.1:port", "tiny", folder=tmp_path)


def test_many_may_fetch_at_once(stub: Stub, tmp_path: Path) -> None:
    at_once = threading.Barrier(8)

    def fetch(_: int) -> Path:
        at_once.wait(60)
        return fetch_bundle(stub.url, "tiny", folder=tmp_path)

    with ThreadPoolExecutor(8) as pool:
        (folder,) = set(pool.map(fetch, range(8)))
    assert held(tmp_path) == [folder.name]


def test_a_folder_that_cannot_be_written_is_named(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("in the way")
    with pytest.raises(BundleError, match=r"cannot be kept in .*: .*; name another folder in DETCO_CACHE"):
        fetch_bundle(stub.url, "tiny", folder=tmp_path)


def test_what_killed_processes_left_goes_after_a_day(stub: Stub, tmp_path: Path) -> None:
    old, new = (tmp_path / "bundles" / f".fetching-{age}" for age in ("old", "new"))
    for draft in (old, new):
        draft.mkdir(parents=True)
        (draft / "model.onnx").write_bytes(b"half")
    os.utime(old, (0, 0))
    folder = fetch_bundle(stub.url, "tiny", folder=tmp_path)
    assert sorted(held(tmp_path)) == sorted([folder.name, new.name])


class TestWithoutTheService:
    def test_a_version_is_what_it_was(self, stub: Stub, tmp_path: Path) -> None:
        folder = fetch_bundle(stub.url, "tiny:3", folder=tmp_path)
        stub.go()
        assert fetch_bundle(stub.url + "/", "tiny:3", folder=tmp_path) == folder
        with pytest.raises(ServiceAway, match="expected were sha256:0"):
            fetch_bundle(stub.url, "tiny:3", None, "sha256:0", tmp_path)
        with pytest.raises(ServiceAway, match="does not answer"):
            fetch_bundle(stub.url, "tiny:4", folder=tmp_path)

    def test_an_alias_is_what_it_was_for_who_says_which_weights(self, stub: Stub, tmp_path: Path) -> None:
        folder = fetch_bundle(stub.url, "tiny", folder=tmp_path)
        weights = read_manifest(folder).weights_digest
        stub.go()
        with pytest.raises(ServiceAway, match=f"expect_digest='{weights}' takes what tiny@production was"):
            fetch_bundle(stub.url, "tiny", folder=tmp_path)
        assert fetch_bundle(stub.url, "tiny@production", None, weights, tmp_path) == folder

    def test_what_was_damaged_since_is_not_used(self, stub: Stub, tmp_path: Path) -> None:
        folder = fetch_bundle(stub.url, "tiny:3", folder=tmp_path)
        stub.go()
        (folder / "model.onnx").write_bytes(b"changed")
        with pytest.raises(ServiceAway, match="does not answer"):
            fetch_bundle(stub.url, "tiny:3", folder=tmp_path)
