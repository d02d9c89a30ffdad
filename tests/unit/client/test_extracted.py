"""A finished extraction read back: every image once, equal to what inference answers, and nothing unchecked."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detco_client import ClientError, DetcoClient, DigestMismatch
from detco_client.extracted import ExtractedFeatures
from detco_client.file_cache import CachedFiles, FolderFiles
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.extractions.files import FOLDER, INDEX_FILE
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.reader import read
from detco_core.extraction.job import run
from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.runtime.reporter import Reporter

BOXES = {"1.png": [[0, 0, 20, 20], [5, 5, 90, 30]], "2.png": []}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle and five photos, one of them broken."""
    root = tmp_path_factory.mktemp("place")
    write_tiny_bundle(root / "bundle")
    (root / "photos").mkdir()
    for n in range(5):
        pixels = np.random.default_rng(n).integers(0, 256, (40 + 8 * n, 64, 3), np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"{n}.png")
    (root / "photos" / "3.png").write_bytes(b"torn")
    (root / "boxes.json").write_text(json.dumps(BOXES))
    return root


@pytest.fixture
def extract(place: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(boxes: bool = False, **options: Any) -> Path:
        job = ExtractJob(
            folder=str(tmp_path / "job"),
            bundle=str(place / "bundle"),
            dataset=DatasetRef(name="photos@1", kind="images", root=str(place / "photos")),
            options=read(ExtractionOptions, {"shard_images": 2, **options}),
            boxes=str(place / "boxes.json") if boxes else None,
        )
        with Reporter(Path(job.folder)) as reporter:
            run(job, reporter)
        return Path(job.folder) / FOLDER

    return make


@pytest.mark.parametrize(
    "options",
    [
        {"levels": ["res3", "res5"], "dtype": "int8"},
        {"levels": ["res4"], "pool": "avg"},
        {"levels": ["res4", "res5"], "pool": "avg", "format": "parquet", "dtype": "float16"},
    ],
)
def test_each_image_has_what_inference_answers(place: Path, extract: Callable[..., Path], options: Any) -> None:
    backbone = Backbone(place / "bundle", providers=["CPUExecutionProvider"])
    wishes = {key: options[key] for key in ("pool", "dtype") if key in options}
    with ExtractedFeatures(extract(**options)) as found:
        assert list(found) == ["0.png", "1.png", "2.png", "4.png"]
        assert len(found) == 4
        assert list(found.broken) == ["3.png"]
        with pytest.raises(KeyError, match="not an image of this extraction"):
            found["none"]
        for name, image in found.items():
            expected = backbone.features(place / "photos" / name, levels=options["levels"], **wishes)
            assert list(image.arrays) == options["levels"]
            for level, array in expected.tensors.items():
                np.testing.assert_array_equal(image.arrays[level], array)
                assert not image.arrays[level].flags.writeable or options.get("format") == "parquet"
            assert (image.network, image.scale) == (expected.geometry.network, expected.geometry.scale)
            assert image.strides == expected.strides
    if options.get("dtype") == "int8":
        whole = backbone.features(place / "photos" / "0.png", levels=["res5"]).tensors["res5"]
        np.testing.assert_allclose(found["0.png"].floats("res5"), whole, atol=found["0.png"].scales["res5"])


def test_boxes_are_rows(extract: Callable[..., Path]) -> None:
    found = ExtractedFeatures(extract(boxes=True, levels=["res3"], roi_size=2))
    assert {name: image.arrays["res3"].shape for name, image in found.items()} == {
        "0.png": (0, 6, 2, 2),
        "1.png": (2, 6, 2, 2),
        "2.png": (0, 6, 2, 2),
        "4.png": (0, 6, 2, 2),
    }
    assert found["1.png"].clipped == (1,)


def test_it_goes_to_another_process_without_its_arrays(extract: Callable[..., Path]) -> None:
    with ExtractedFeatures(extract()) as own:
        before = len(pickle.dumps(own))
        expected = {name: own[name].arrays["res5"] for name in own}
        assert len(pickle.dumps(own)) < before + 1000  # where each image lies
        theirs = pickle.loads(pickle.dumps(own))  # noqa: S301 - our own
    assert list(theirs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(theirs[name].arrays["res5"], array)


def test_in_any_order_a_shard_is_checked_once_until_it_is_touched(
    extract: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = extract(pool="avg", shard_images=1)
    read: list[str] = []

    def counted(file: Any, algorithm: str, digest: Any = hashlib.file_digest) -> Any:
        read.append(Path(file.name).name)
        return digest(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    monkeypatch.setattr("detco_client.extracted._OPEN_SHARDS", 1)
    with ExtractedFeatures(folder) as found:
        for name in ("2.png", "0.png", "2.png", "1.png", "0.png"):
            assert found[name].arrays["res5"].shape == (1, 10)
        assert sorted(read) == sorted(set(read))
        shard = folder / "00002.safetensors"
        data, before = shard.read_bytes(), shard.stat().st_ctime_ns
        shard.unlink()
        # In the same inode perhaps, and within one tick of the disk's clock.
        while not shard.exists() or shard.stat().st_ctime_ns == before:
            shard.write_bytes(data[:-1] + b"?")
        with pytest.raises(DigestMismatch, match="00002"):
            found["2.png"]


@pytest.mark.parametrize("name", ["00000.safetensors", "00000.jsonl"])
def test_a_file_that_is_another_is_refused(extract: Callable[..., Path], name: str) -> None:
    folder = extract(pool="avg")
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(DigestMismatch, match=name):
        ExtractedFeatures(folder)["0.png"]


def test_an_index_that_is_missing_or_another_is_refused(extract: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"index\.json cannot be read"):
        ExtractedFeatures(tmp_path)
    with pytest.raises(DigestMismatch):
        ExtractedFeatures(extract(pool="avg"), "sha256:" + "0" * 64)


def test_a_cache_fetches_once_and_keeps_its_bound(extract: Callable[..., Path], tmp_path: Path) -> None:
    folder = extract(levels=["res2"])
    fetched: list[str] = []

    def fetch(path: str, target: Path, sha256: str) -> None:
        fetched.append(path)
        target.write_bytes(FolderFiles(folder).find(path, sha256).read_bytes())

    digest = "sha256:" + hashlib.sha256((folder / INDEX_FILE).read_bytes()).hexdigest()
    files = CachedFiles(tmp_path / "cache", 2**30, fetch)
    found = ExtractedFeatures(files, digest)
    assert fetched == ["index.json"]
    first = found["0.png"].arrays["res2"]
    assert fetched == ["index.json", "00000.jsonl", "00001.jsonl", "00002.jsonl", "00000.safetensors"]
    ExtractedFeatures(files, digest)["1.png"]
    assert len(fetched) == 5
    small = CachedFiles(tmp_path / "cache", 1, fetch)
    ExtractedFeatures(small, digest)["4.png"]
    assert fetched[5:] == ["00002.safetensors"]
    assert [path.stat().st_size for path in (tmp_path / "cache").iterdir()] == [(folder / fetched[-1]).stat().st_size]
    np.testing.assert_array_equal(first, ExtractedFeatures(folder)["0.png"].arrays["res2"])


class Served(BaseHTTPRequestHandler):
    """One finished extraction, `e1`, whose token is `secret`."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        path = self.path.removeprefix("/v1/extractions/e1")
        self.asked.append(path)
        if self.headers["Authorization"] != "Bearer secret":
            self.send_error(401)
            return
        body = (self.folder / Path(path).name).read_bytes() if path else json.dumps(self.about()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def about(self) -> object:
        sha256 = hashlib.sha256((self.folder / INDEX_FILE).read_bytes()).hexdigest()
        return {"report": {"index": {"path": INDEX_FILE, "sha256": f"sha256:{sha256}"}}}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(extract: Callable[..., Path]) -> Iterator[tuple[str, type[Served]]]:
    handler = type("Handler", (Served,), {"folder": extract(pool="avg"), "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


ELSEWHERE = """
import pickle, sys
found = pickle.load(sys.stdin.buffer)
pickle.dump({name: image.arrays["res5"] for name, image in found.items()}, sys.stdout.buffer)
"""


@pytest.mark.slow
def test_what_a_service_has_goes_to_a_process_that_knows_nothing(
    served: tuple[str, type[Served]], tmp_path: Path
) -> None:
    """As a loader's spawned process gets it: no environment, no connection, no file fetched before."""
    url, handler = served
    with DetcoClient(url, "secret") as client:
        found = client.extractions.open("e1", tmp_path / "cache")
        taken = pickle.dumps(found)
        assert handler.asked == ["", f"/files/{INDEX_FILE}"]
        done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=taken, capture_output=True, check=True, env={})
        fetched = len(handler.asked)
        expected = {name: image.arrays["res5"] for name, image in found.items()}
    assert len(handler.asked) == fetched  # they share a cache
    for name, array in pickle.loads(done.stdout).items():  # noqa: S301 - our own
        np.testing.assert_array_equal(array, expected.pop(name))
    assert not expected


def test_a_forked_process_has_connections_of_its_own(
    served: tuple[str, type[Served]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DetcoClient(served[0], "secret") as client:
        found = client.extractions.open("e1", tmp_path / "cache")
        transport = client.extractions._transport
        assert transport.here() is transport
        monkeypatch.setattr(transport.http, "stream", None)
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: -1)
            assert len(dict(found)) == 4


def test_a_cache_that_another_reader_empties_is_filled_again(extract: Callable[..., Path], tmp_path: Path) -> None:
    folder = extract(pool="avg")

    def fetch(path: str, target: Path, sha256: str) -> None:
        target.write_bytes(FolderFiles(folder).find(path, sha256).read_bytes())

    class Emptied:
        """Lets go of each file `times` times, after it was found."""

        times = 1

        def find(self, path: str, sha256: str | None) -> Path:
            target = files.find(path, sha256)
            lost[path] = lost.get(path, 0) + 1
            if path != INDEX_FILE and lost[path] <= self.times:
                target.unlink()
            return target

    files, lost = CachedFiles(tmp_path / "cache", 2**30, fetch), dict[str, int]()
    digest = "sha256:" + hashlib.sha256((folder / INDEX_FILE).read_bytes()).hexdigest()
    found = ExtractedFeatures(Emptied(), digest)
    assert found["0.png"].arrays["res5"].shape == (1, 10)
    Emptied.times = 100
    with pytest.raises(ClientError, match="more room"):
        ExtractedFeatures(Emptied(), digest)["4.png"]
