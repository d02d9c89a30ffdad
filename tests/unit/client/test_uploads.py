"""Sending files and folders: the same bytes each time, going on where an earlier try broke off."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from detco_client import ClientError, DetcoClient, packing, uploads
from detco_client.packing import pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("b/z.jpg", 700), ("b/a.jpg", 512), ("a.jpg", 0), (".hidden", 9), ("b/.git/x", 9)):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(bytes(size))
    (tmp_path / "pictures" / "link.jpg").symlink_to("/etc/passwd")
    return tmp_path / "pictures"


def test_a_folder_is_a_tar_that_can_be_taken_up_anywhere(folder: Path) -> None:
    parcel = pack(folder)
    whole = b"".join(parcel.chunks())
    assert (parcel.bytes, pack(folder)) == (len(whole), parcel)
    for start in (0, 1, 512, 1500, len(whole) - 1, len(whole)):
        assert b"".join(parcel.chunks(start)) == whole[start:]
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert {info.name: info.size for info in tar} == {"a.jpg": 0, "b/a.jpg": 512, "b/z.jpg": 700}


def test_what_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match="no file or folder"):
        pack(folder / "nowhere")
    monkeypatch.setattr(packing, "_file", lambda path, start: iter([b"longer than it was"]))
    with pytest.raises(ClientError, match=r"a\.jpg changed while it was read"):
        pack(folder)


def test_parts_that_were_cut_are_sent_again(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART", 1000)
    path = tmp_path / "w.pth"
    path.write_bytes(bytes(range(256)) * 10)
    service.state.cut_after = [1000, 300, 5]
    seen: list[tuple[int, int]] = []
    client = DetcoClient(service.url, "secret")
    sent = client.uploads.send(path, on_bytes=lambda there, total: seen.append((there, total)))
    assert (sent["state"], sent["uri"], service.state.bodies[-1]["kind"]) == ("ready", "upload:upl_1", "weights")
    assert service.state.file == path.read_bytes()
    assert seen[-1] == (2560, 2560)
    before = len(service.state.requests)
    assert client.uploads.send(path)["state"] == "ready"
    assert len(service.state.requests) == before + 1  # found by its digest, and nothing is sent
    client.close()
