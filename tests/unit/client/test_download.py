from pathlib import Path
from typing import Any

import pytest

from detco_client import download as module
from detco_client.download import download
from detco_client.errors import CannotConnect, ClientError, DigestMismatch, NotAuthenticated
from detco_client.transport import Transport, open_transport

PATH = "/v1/models/detector/versions/1/files/onnx"


@pytest.fixture
def transport(service: Any) -> Any:
    made = open_transport(service.url, "secret")
    yield made
    made.http.close()


def asked(service: Any) -> list[str | None]:
    return [headers.get("range") for headers in service.state.headers(PATH[1:])]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_arrives_whole_and_alone(transport: Transport, service: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new folder" / "model.onnx"
    assert download(transport, PATH, target, service.state.sha256, lambda n, of: seen.append((n, of))) == target
    assert target.read_bytes() == service.state.file
    assert names(target.parent) == ["model.onnx"]
    assert seen[-1] == (len(service.state.file), len(service.state.file))


def test_a_broken_connection_is_taken_up_where_it_broke(transport: Transport, service: Any, tmp_path: Path) -> None:
    service.state.cut_after = [1000, 0, 500, 0]
    target = download(transport, PATH, tmp_path / "f", service.state.sha256)
    assert target.read_bytes() == service.state.file
    assert asked(service) == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-", "bytes=1500-"]


def test_an_earlier_part_is_continued(transport: Transport, service: Any, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(service.state.file[:4000])
    assert download(transport, PATH, tmp_path / "f", service.state.sha256).read_bytes() == service.state.file
    assert asked(service) == ["bytes=4000-"]


@pytest.mark.parametrize("length", [10, 16384, 20000])
def test_a_part_of_another_file_is_thrown_away(transport: Transport, service: Any, tmp_path: Path, length: int) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * length)
    assert download(transport, PATH, tmp_path / "f", service.state.sha256).read_bytes() == service.state.file


def test_a_service_without_ranges_sends_it_all_again(transport: Transport, service: Any, tmp_path: Path) -> None:
    service.state.ranges = False
    (tmp_path / "f.part").write_bytes(service.state.file[:4000])
    assert download(transport, PATH, tmp_path / "f", service.state.sha256).read_bytes() == service.state.file


def test_another_digest_leaves_nothing_behind(transport: Transport, service: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"what was there before")
    with pytest.raises(DigestMismatch, match="expected sha256:0000"):
        download(transport, PATH, tmp_path / "f", "0" * 64)
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"what was there before"


def test_a_connection_that_keeps_failing_leaves_the_part(
    transport: Transport, service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.state.cut_after = [100] + [0] * 20
    monkeypatch.setattr(module, "PAUSES", (0.0,))
    with pytest.raises(CannotConnect):
        download(transport, PATH, tmp_path / "f", service.state.sha256)
    assert (tmp_path / "f.part").stat().st_size == 100
    service.state.cut_after = []
    assert download(transport, PATH, tmp_path / "f", service.state.sha256).read_bytes() == service.state.file


def test_a_refusal_is_not_written_to_the_file(service: Any, tmp_path: Path) -> None:
    transport = open_transport(service.url, "wrong")
    with pytest.raises(NotAuthenticated):
        download(transport, PATH, tmp_path / "f", None)
    assert names(tmp_path) == []
    transport.http.close()


def test_a_place_that_cannot_be_written_is_named(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ClientError, match=r"cannot write .*file/f"):
        download(transport, PATH, tmp_path / "file" / "f", None)
