import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from detco_client import DetcoClient
from detco_client.errors import BadReply, ClientError

JPEG, PNG = b"\xff\xd8\xff\xe0rest", b"\x89PNG\r\n\x1a\nrest"


@pytest.fixture
def client(service: Any) -> Any:
    with DetcoClient() as made:
        yield made


def sent(service: Any) -> dict[str, str]:
    found: dict[str, str] = service.state.headers("v1/features")[-1]
    return found


def test_one_picture_is_sent_as_it_is(client: DetcoClient, service: Any) -> None:
    reply = client.features(JPEG, levels=["res2", "res5"], resize={"short_side": 640}, pool="none", model=None)
    assert service.state.bodies == [{"levels": "res2,res5", "resize": '{"short_side": 640}', "pool": "none"}]
    assert sent(service)["content-type"] == "image/jpeg"
    (image,) = reply.images
    assert list(image.levels) == ["res2", "res5"]
    assert image.levels["res5"].shape == (1, 2, 2, 3)
    assert float(image.levels["res5"].max()) == len(JPEG)
    assert image.strides == {"res2": 32, "res5": 32}
    assert image.geometry == {"original": [2, 3]}
    assert (reply.meta["model"], reply.meta["version"]) == ("detector", 1)


def test_a_compressed_answer_is_asked_for(client: DetcoClient, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client.features(JPEG)
    assert "," in sent(service)["accept-encoding"]
    client.features([JPEG], compressed=True)
    assert sent(service)["accept-encoding"] == "zstd"
    monkeypatch.setattr("detco_client.features.find_spec", lambda name: None)
    with pytest.raises(ClientError, match="zstandard"):
        client.features(JPEG, compressed=True)


def test_several_pictures_keep_their_order(client: DetcoClient, service: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    reply = client.features([JPEG, tmp_path / "a.png", str(tmp_path / "a.png")], levels=["res5"])
    assert service.state.bodies == [{"levels": ["res5"]}]
    assert sent(service)["content-type"].startswith("multipart/form-data")
    lengths = [float(image.levels["res5"].max()) for image in reply.images]
    assert lengths == [len(JPEG), len(PNG), len(PNG)]


def test_many_boxes_go_in_a_form(client: DetcoClient, service: Any) -> None:
    """No address is long enough for them."""
    boxes = [[0.1, 0.2, 1 / 3, 2 / 3]] * 1000
    (image,) = client.features(JPEG, levels="res2,res5", boxes=boxes).images
    assert service.state.bodies == [{"levels": ["res2", "res5"], "boxes": boxes}]
    assert sent(service)["content-type"].startswith("multipart/form-data")
    assert float(image.levels["res5"].max()) == len(JPEG)


def test_pixels_are_sent_as_they_are(client: DetcoClient, service: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    file = io.BytesIO()
    np.save(file, pixels)
    (image,) = client.features(pixels, levels=["res5"]).images
    assert sent(service)["content-type"] == "application/x-npy"
    assert float(image.levels["res5"].max()) == len(file.getvalue())
    assert len(client.features([pixels, JPEG]).images) == 2


def test_what_is_no_picture_is_not_sent(client: DetcoClient, service: Any) -> None:
    with pytest.raises(ClientError, match="float is no image: give a file's bytes, a path, or an array"):
        client.features([1.0])  # type: ignore[list-item]  # wrong on purpose
    with pytest.raises(ClientError, match="object arrays are not sent"):
        client.features(np.array([{}]))
    assert service.state.requests == []


def test_a_broken_picture_fails_alone(client: DetcoClient) -> None:
    good, bad, other = client.features([JPEG, b"broken", PNG]).images
    assert good.error is None
    assert other.error is None
    assert bad.error == {"code": "unreadable", "detail": "no picture"}
    assert bad.levels == {}
    np.testing.assert_array_equal(np.unique(other.levels["res5"]), [len(PNG)])


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (JPEG, "image/jpeg"),
        (PNG, "image/png"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"\x93NUMPY", "application/x-npy"),
        (b"text", "application/octet-stream"),
    ],
)
def test_a_picture_says_what_it_is(client: DetcoClient, service: Any, picture: bytes, kind: str) -> None:
    client.features(picture)
    assert sent(service)["content-type"] == kind


def test_a_picture_that_is_not_there_is_named(client: DetcoClient) -> None:
    with pytest.raises(ClientError, match=r"nowhere\.jpg"):
        client.features("nowhere.jpg")
    with pytest.raises(ClientError, match="no image"):
        client.features([])


def test_a_reply_without_images_is_refused() -> None:
    meta = b'{"outputs": []}'
    headers = {"Inference-Header-Content-Length": str(len(meta))}
    fake = httpx.MockTransport(lambda request: httpx.Response(200, content=meta, headers=headers))
    with DetcoClient("http://service", "t", transport=fake) as client, pytest.raises(BadReply, match="images"):
        client.features(JPEG)
