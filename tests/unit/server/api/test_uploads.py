"""Uploads over HTTP: announced, sent in parts that may break off, checked, and then named by data sets and weights."""

import hashlib
import io
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from fastapi import FastAPI
from moto.server import ThreadedMotoServer
from PIL import Image
from sqlalchemy import update

from control.collector import collect
from control.db.models import Upload
from control.db.session import database_time, unit_of_work
from control.records.store import uploads
from control.settings import load_settings
from control.storage.base import key_of
from control.storage.open import open_store
from server.app import make_app
from tests.ports import reserved_port


def archive(*names: str, link: str = "") -> bytes:
    """A tar with a small picture under each name."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for n, name in enumerate(names):
            picture = io.BytesIO()
            Image.new("RGB", (40, 30), (n % 256, 0, 0)).save(picture, "PNG")
            info = tarfile.TarInfo(name)
            info.size = len(picture.getvalue())
            tar.addfile(info, io.BytesIO(picture.getvalue()))
        if link:
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return raw.getvalue()


def announce(client: httpx.Client, data: bytes, kind: str = "dataset", expect: int = 201, **body: Any) -> Any:
    asked = {"kind": kind, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | body
    answer = client.post("/v1/uploads", json=asked)
    assert answer.status_code == expect, answer.text
    return answer.json()


def put(client: httpx.Client, upload: Any, data: bytes, span: str = "") -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"} | ({"Content-Range": span} if span else {})
    return client.put(f"/v1/uploads/{upload['id']}", content=data, headers=headers)


def break_off(client: httpx.Client, upload: Any, data: bytes, start: int = 0, *, sent: int) -> None:
    """Promise all of `data`, the upload's last part, and hang up after `sent` bytes."""
    end, total = start + len(data), upload["bytes"]
    head = (
        f"PUT /v1/uploads/{upload['id']} HTTP/1.1\r\nHost: x\r\nContent-Range: bytes {start}-{end - 1}/{total}\r\n"
        f"Authorization: {client.headers['authorization']}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port)) as wire:
        wire.sendall(head.encode() + data[:sent])


def until(ask: Callable[[], int], pleases: Callable[[int], bool]) -> int:
    for _ in range(500):
        if pleases(answer := ask()):
            return answer
        time.sleep(0.02)
    raise AssertionError(f"still {answer}")


def test_sent_in_parts_then_scanned_as_a_data_set(admin: httpx.Client, house: Any) -> None:
    data = archive(*(f"pictures/{n}.png" for n in range(20)))
    made = announce(admin, data)
    assert (made["state"], made["received"], made["uri"]) == ("receiving", 0, f"upload:{made['id']}")
    assert made["expires_at"] is not None
    body = {"name": "sent", "kind": "images", "uri": made["uri"]}
    early = admin.post("/v1/datasets", json=body)
    assert (early.status_code, early.json()["code"]) == (409, "not_ready")
    third, total = len(data) // 3, len(data)
    first = put(admin, made, data[:third], f"bytes 0-{third - 1}/{total}")
    assert (first.status_code, first.json()["received"]) == (200, third)
    gap = put(admin, made, data[third + 5 :], f"bytes {third + 5}-{total - 1}/{total}")
    assert (gap.status_code, gap.json()["code"], gap.json()["received"]) == (409, "other_offset", third)
    assert admin.get(f"/v1/uploads/{made['id']}").json()["received"] == third
    assert put(admin, made, b"", f"bytes */{total}").json()["received"] == third
    done = put(admin, made, data[third:], f"bytes {third}-{total - 1}/{total}").json()
    assert (done["state"], done["received"], done["expires_at"]) == ("ready", total, None)
    assert done["contents"] | {"bytes": 0} == {
        "files": 20, "bytes": 0, "base": "pictures", "images": 20, "shards": 0, "splits": []
    }  # fmt: skip
    assert put(admin, made, data[third:], f"bytes {third}-{total - 1}/{total}").json() == done  # sent once more
    noted = admin.get("/v1/audit", params={"target": made["id"]}).json()["items"]
    assert [entry["action"] for entry in noted] == ["upload.complete", "upload.announce"]
    assert noted[0]["details"] == {"kind": "dataset", "bytes": total, "sha256": made["sha256"], "reason": None}
    version = admin.post("/v1/datasets", json=body).json()
    assert (version["state"], version["root"]) == ("scanning", made["uri"])
    held = admin.delete(f"/v1/uploads/{made['id']}")
    assert (held.status_code, held.json()["holders"]) == (409, ["data set sent"])
    house.scan(20)
    assert admin.get("/v1/datasets/sent").json()["state"] == "ready"
    assert collect(house.engine, house.store) == len(data)  # its two parts
    assert house.store.exists(key_of(made["sha256"]))


def test_in_one_piece_and_weights(admin: httpx.Client, house: Any) -> None:
    data = b"tensors of somebody"
    made = announce(admin, data, "weights", sha256="sha256:" + hashlib.sha256(data).hexdigest())
    assert put(admin, made, data).json()["state"] == "ready"
    again = admin.get("/v1/uploads", params={"sha256": made["sha256"]}).json()["items"]
    assert [item["id"] for item in again] == [made["id"]]
    weights = admin.post("/v1/weights", json={"uri": made["uri"], "architecture": "resnet18"})
    assert weights.status_code == 202
    assert admin.delete(f"/v1/uploads/{made['id']}").json()["holders"] == [f"import {weights.json()['job']}"]
    taken = house.claim("cpu")
    assert (taken.kind, taken.spec["path"]) == ("import", made["uri"])
    house.close(taken, "failed", error_kind="user", message="no")
    rehearsed = admin.delete(f"/v1/uploads/{made['id']}?dry_run=true").json()
    assert rehearsed == {"id": made["id"], "dry_run": True, "derived": [], "bytes": len(data)}
    assert admin.delete(f"/v1/uploads/{made['id']}").json() == rehearsed | {"dry_run": False}
    assert admin.get(f"/v1/uploads/{made['id']}").status_code == 404
    assert collect(house.engine, house.store) >= len(data)
    assert not house.store.exists(key_of(made["sha256"]))


def test_what_came_before_the_connection_broke_counts(admin: httpx.Client, house: Any) -> None:
    data = bytes(range(256)) * 6000
    made = announce(admin, data, "bundle")
    break_off(admin, made, data, sent=100_000)
    received = until(lambda: admin.get(f"/v1/uploads/{made['id']}").json()["received"], lambda n: n > 0)
    assert received <= 100_000
    rest = put(admin, made, data[received:], f"bytes {received}-{len(data) - 1}/{len(data)}")
    assert rest.json()["state"] == "ready"


@pytest.mark.parametrize(
    ("data", "changes", "word"),
    [
        (b"not what was announced", {"sha256": "0" * 64}, "not those of sha256"),
        (b"no archive", {}, "not a whole tar or zip"),
        (archive("../a.png"), {}, "does not name a file below"),
        (archive("a.png", link="/etc/passwd"), {}, "links, devices"),
    ],
)
def test_what_is_not_as_announced_fails_and_leaves_nothing(
    admin: httpx.Client, house: Any, data: bytes, changes: dict[str, Any], word: str
) -> None:
    made = announce(admin, data, **changes)
    refused = put(admin, made, data)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert word in refused.json()["detail"]
    failed = admin.get(f"/v1/uploads/{made['id']}").json()
    assert (failed["state"], word in failed["reason"]) == ("failed", True)
    noted = admin.get("/v1/audit", params={"target": made["id"], "action": "upload.fail"}).json()["items"]
    assert [entry["details"]["reason"] for entry in noted] == [failed["reason"]]
    assert put(admin, made, data).status_code == 409
    assert collect(house.engine, house.store) >= len(data)
    assert not house.store.exists(key_of(hashlib.sha256(data).hexdigest()))
    body = {"name": "x", "kind": "images", "uri": made["uri"]}
    assert admin.post("/v1/datasets", json=body).json()["code"] == "not_ready"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": 2**50}, "DETCO_MAX_UPLOAD_BYTES"),
        ({"sha256": "abc"}, "sha256"),
        ({"kind": "poem"}, "kind"),
        ({"path": "/etc"}, "path"),
    ],
)
def test_what_cannot_be_announced(admin: httpx.Client, body: dict[str, Any], word: str) -> None:
    assert word in str(announce(admin, b"x", expect=422, **body))


@pytest.mark.parametrize(
    "span", ["bytes 0-1", "bytes 5-2/9", "bytes 0-9/9", "0-1/9", "bytes 0-1/9,bytes 2-3/9", "bytes 0-1/8"]
)
def test_ranges_that_make_no_sense(admin: httpx.Client, span: str) -> None:
    made = announce(admin, b"123456789", "weights")
    assert put(admin, made, b"12", span).status_code == 422
    longer = put(admin, made, b"123", "bytes 0-1/9")
    assert (longer.status_code, "Content-Range says 2" in longer.text) == (422, True)
    assert put(admin, made, b"1234567890").status_code == 422


def test_an_archive_must_be_laid_out_as_its_kind(admin: httpx.Client) -> None:
    made = announce(admin, data := archive("train/cat/a.png", "held-out/cat/b.png"))
    put(admin, made, data)
    body = {"name": "odd", "kind": "labelled", "uri": made["uri"]}
    refused = admin.post("/v1/datasets", json=body)
    assert (refused.status_code, "val/CLASS/" in refused.json()["detail"]) == (422, True)
    splits = {"train": "train", "val": "held-out"}
    taken = admin.post("/v1/datasets", json=body | {"splits": splits})
    assert (taken.status_code, taken.json()["split_folders"]) == (202, splits)
    wrong = admin.post("/v1/weights", json={"uri": made["uri"], "architecture": "resnet18"})
    assert "is of kind 'dataset'" in wrong.json()["detail"]
    unknown = admin.post("/v1/datasets", json=body | {"uri": "upload:upl_none"})
    assert (unknown.status_code, "there is no upload" in unknown.text) == (422, True)


def test_one_that_is_never_finished_is_given_up(admin: httpx.Client, house: Any) -> None:
    made = announce(admin, b"123456789", "weights")
    put(admin, made, b"12345", "bytes 0-4/9")
    with unit_of_work(house.engine) as session:
        assert uploads.give_up(session) == 0
        late = update(Upload).where(Upload.id == made["id"]).values(expires_at=database_time(session))
        session.execute(late)
    with unit_of_work(house.engine) as session:
        assert uploads.give_up(session) == 1
    assert admin.get(f"/v1/uploads/{made['id']}").status_code == 404


class Bucket:
    """A store in S3 that may be away for a while, and two servers on it, each with a folder of its own."""

    def __init__(self, port: int, house: Any, folder: Path, serve: Callable[[FastAPI], httpx.Client]) -> None:
        self._server = self._start(port)
        self._endpoint = "http://{}:{}".format(*self._server.get_host_and_port())
        boto3.client("s3", endpoint_url=self._endpoint).create_bucket(Bucket="uploads")
        url = f"s3://uploads/store?endpoint_url={self._endpoint}"
        roots, database = (str(folder),), house.settings.resolved_database_url
        self.clients = []
        for name in ("one", "other"):
            settings = load_settings(data_dir=folder / name, database_url=database, store_url=url, dataset_roots=roots)
            self.store = open_store(settings)
            client = serve(make_app(settings))
            client.headers["Authorization"] = house.client("admin").headers["Authorization"]
            self.clients.append(client)

    def keys(self) -> set[str]:
        return {entry.key for entry in self.store.entries()}

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server = self._start(int(self._endpoint.rpartition(":")[2]))

    def _start(self, port: int) -> ThreadedMotoServer:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        return server


@pytest.fixture
def bucket(
    house: Any, tmp_path: Path, serve: Callable[[FastAPI], httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with reserved_port() as port:
        made = Bucket(port, house, tmp_path, serve)
        yield made
        made.stop()


def test_through_two_servers_and_a_bucket_that_goes_away(bucket: Bucket, house: Any) -> None:
    """A part twice, at once and later; one whose connection breaks; one that finds the store gone."""
    collect(house.engine, house.store)  # what other tests have let go of
    one, other = bucket.clients
    data = archive(*(f"pictures/{n}.png" for n in range(300)))
    made, total = announce(one, data), len(data)
    half = f"bytes 0-{total // 2 - 1}/{total}"
    with ThreadPoolExecutor() as hands:
        answers = list(hands.map(lambda client: put(client, made, data[: total // 2], half), [one, other, one, other]))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    late = put(other, made, data[: total // 2], half)
    assert (late.status_code, late.json()["code"], late.json()["received"]) == (409, "other_offset", total // 2)

    break_off(other, made, data[total // 2 :], total // 2, sent=100_000)
    received = until(lambda: one.get(f"/v1/uploads/{made['id']}").json()["received"], lambda n: n > total // 2)
    assert received <= total // 2 + 100_000
    rest = f"bytes {received}-{total - 1}/{total}"
    bucket.stop()
    away = put(one, made, data[received:], rest)
    assert (away.status_code, away.json()["code"]) == (503, "store_unavailable")
    assert other.get(f"/v1/uploads/{made['id']}").json()["received"] == received
    bucket.start()
    done = put(other, made, data[received:], rest).json()
    assert (done["state"], done["contents"]["images"]) == ("ready", 300)
    assert b"".join(bucket.store.open_range(key_of(made["sha256"]))) == data
    assert collect(house.engine, bucket.store) == total  # its parts
    assert bucket.keys() == {key_of(made["sha256"])}
    assert one.delete(f"/v1/uploads/{made['id']}").json()["bytes"] == total
    collect(house.engine, bucket.store)
    assert bucket.keys() == set()


def test_scopes(house: Any, tmp_path: Path) -> None:
    reader = house.client("read")
    announce(reader, b"x", expect=403)
    assert reader.get("/v1/uploads").status_code == 200
    assert reader.put("/v1/uploads/x", content=b"1").status_code == 403
    assert house.client("submit").put("/v1/uploads/x", content=b"1").status_code == 404
    assert list((house.settings.data_dir / "uploads").glob("*")) == []
