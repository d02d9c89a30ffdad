"""Pictures of 16 bits and of many bands through every door: the features of all that is stored, or a refusal."""

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite
from tritonclient.grpc import service_pb2 as wire

from benchmarks.serving.service import MODEL
from detco_core.contract.manifest import InputSpec
from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_bundle
from tests.integration.serving.conftest import BANDS, DEEP, Door, png, saved
from tests.integration.serving.conftest import noise as bytes_of
from tests.integration.serving.test_images import headed
from tests.pngs import noise, write_png

RGB = noise(3, 48, 40)


def tiff(pixels: NDArray[Any], photometric: str, **options: Any) -> bytes:
    file = io.BytesIO()
    imwrite(file, pixels, photometric=photometric, planarconfig="contig", **options)
    return file.getvalue()


def expected(folder: Path, seed: int, spec: InputSpec, pixels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """`res5` of the pixels as an array, in this process."""
    write_tiny_bundle(folder, seed, spec)
    found: NDArray[np.float32] = Backbone(folder, providers=["CPUExecutionProvider"]).features(pixels).tensors["res5"]
    return found


def by_body(door: Door, file: bytes, version: int) -> NDArray[np.float32]:
    return door.tensors(door.features(file, model=f"{MODEL}:{version}"))["res5"]


def by_form(door: Door, file: bytes, version: int) -> NDArray[np.float32]:
    files = [("image", ("a.bin", file, "application/octet-stream"))]
    return door.tensors(door.client.post("/features", params={"model": f"{MODEL}:{version}"}, files=files))["res5"]


def by_protocol(door: Door, file: bytes, version: int) -> NDArray[np.float32]:
    picture = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(file).decode()]}
    body = {"inputs": [picture], "outputs": [{"name": "res5"}]}
    answer = door.client.post(f"/v2/models/{MODEL}/versions/{version}/infer", json=body)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def by_grpc(door: Door, file: bytes, version: int) -> NDArray[np.float32]:
    request = wire.ModelInferRequest(model_name=MODEL, model_version=str(version))
    request.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(file)
    request.outputs.add(name="res5")
    with grpc.insecure_channel(door.grpc) as channel:
        ask = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=wire.ModelInferRequest.SerializeToString,
            response_deserializer=wire.ModelInferResponse.FromString,
        )
        answer = ask(request, metadata=[("authorization", door.client.headers["authorization"])], timeout=60)
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(list(answer.outputs[0].shape))


@pytest.mark.parametrize("ask", [by_body, by_form, by_protocol, by_grpc])
def test_sixteen_bits_of_colour_by_every_door(ask: Any, door: Door, tmp_path: Path) -> None:
    wanted = expected(tmp_path, 1, DEEP, RGB)
    for file in (
        write_png(RGB),
        write_png(RGB, interlaced=True),
        tiff(RGB, "rgb"),
        tiff(RGB, "rgb", compression="zlib"),
    ):
        np.testing.assert_allclose(ask(door, file, 2), wanted, rtol=1e-5, atol=1e-5)
    cut = expected(tmp_path, 1, DEEP, (RGB >> 8 << 8).astype(np.uint16))
    assert np.abs(cut - wanted).max() > 1e-3


@pytest.mark.parametrize("ask", [by_body, by_form, by_protocol, by_grpc])
def test_a_tiff_of_many_bands_by_every_door(ask: Any, door: Door, tmp_path: Path) -> None:
    bands = noise(5, 48, 40)
    wanted = expected(tmp_path, 2, BANDS, bands)
    np.testing.assert_allclose(ask(door, tiff(bands, "minisblack"), 3), wanted, rtol=1e-5, atol=1e-5)


def test_what_alpha_was_dropped_from_is_said(door: Door) -> None:
    for file, said in ((write_png(noise(4)), "RGBA;16"), (write_png(noise(1)), "I;16"), (write_png(RGB), None)):
        (image,) = door.document(door.features(file, model=f"{MODEL}:2"))["images"]
        assert image["converted_from"] == said


@pytest.mark.parametrize(
    ("file", "version", "code"),
    [
        (png(bytes_of(40, 30)), 2, "image_bit_depth"),
        (saved(Image.new("RGB", (40, 30)), "JPEG"), 2, "image_bit_depth"),
        (write_png(RGB), 1, "image_bit_depth"),
        (tiff(RGB, "rgb"), 1, "image_bit_depth"),
        (tiff(noise(5), "minisblack"), 2, "image_channels"),
        (tiff(noise(5), "minisblack"), 1, "image_bit_depth"),
        (tiff((noise(5) >> 8).astype(np.uint8), "rgb"), 1, "image_channels"),
        (write_png(RGB), 3, "image_channels"),
    ],
)
def test_what_would_be_made_up_or_lost_is_refused(door: Door, file: bytes, version: int, code: str) -> None:
    document = door.refused(door.features(file, model=f"{MODEL}:{version}"), 422, code)
    assert any(word in document["detail"] for word in ("convert it to", "the model takes"))


def test_a_damaged_one_is_unreadable(door: Door) -> None:
    for file in (write_png(noise(3, 200, 200)), tiff(noise(3, 200, 200), "rgb", compression="zlib")):
        door.refused(door.features(file[: len(file) // 2], model=f"{MODEL}:2"), 422, "image_unreadable")


def listed(*entries: tuple[int, int, int], data: bytes = b"") -> bytes:
    """A TIFF of 16 x 16 pixels, one strip or tile behind its directory; entries are tag, count and value."""
    said = {256: (1, 16), 257: (1, 16), 258: (1, 8), 259: (1, 8), 262: (1, 1), 277: (1, 1)}
    said |= {tag: (count, value) for tag, count, value in entries}
    at = 8 + 2 + 12 * len(said) + 4
    rows = [struct.pack("<HHII", tag, 4, count, value or at) for tag, (count, value) in sorted(said.items())]
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + bytes(4) + data


BOMB = zlib.compress(bytes(2**24), 9)


@pytest.mark.parametrize(
    "file",
    [
        listed((273, 2_000_000, 0), (278, 1, 1), (279, 2_000_000, 0)),
        listed((322, 1, 45_000), (323, 1, 45_000), (324, 1, 0), (325, 1, len(BOMB)), data=BOMB),
        listed((277, 1, 5), (273, 1, 0), (278, 1, 16), (279, 1, len(BOMB)), data=BOMB),
        headed(60_000, 60_000, 16, 2),
        headed(60_000, 60_000, 16, 6),
    ],
    ids=["millions of strips", "a tile far larger than its picture", "a strip that unpacks to more", "RGB", "RGBA"],
)
def test_a_bomb_is_a_413_before_it_is_unpacked(door: Door, file: bytes) -> None:
    for version in (1, 2, 3):
        answer = door.features(file, model=f"{MODEL}:{version}")
        if answer.json()["code"] != "image_channels":
            door.refused(answer, 413, "image_too_large")
