"""The layouts of an answer, each read back by hand or by the library its users have."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from detco_core.contract.errors import ImageError
from detco_core.inference.numbers import Cast
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from server.features.errors import ReplyTooLarge
from server.features.replies.encode import LENGTH_HEADER, MEDIA_TYPES, MediaType, describe, encode, format_of, is_brief
from server.features.replies.encoded import Encoded
from server.features.schemas import FeatureReply, Format, ImageFacts, ImageReply, ModelIdentity, Tensor, Timings

GEOMETRY = Geometry(Size(50, 70), Size(70, 50), Size(35, 25), Size(64, 32))
FACTS = ImageFacts("JPEG", 6, GEOMETRY, "CMYK", True)


def reply(*images: dict[str, np.ndarray] | Exception) -> FeatureReply:
    made = []
    for index, image in enumerate(images):
        timings = Timings(0.001, 0.002, 0.003, 0.0)
        if isinstance(image, Exception):
            made.append(ImageReply(index, f"{index}.jpg", timings, error=image))
            continue
        tensors = tuple(Tensor(index, level, 32, array, Cast()) for level, array in image.items())
        made.append(ImageReply(index, f"{index}.jpg", timings, FACTS, tensors))
    return FeatureReply(ModelIdentity("tiny", 3, "sha256:abc", "CPUExecutionProvider"), tuple(made), 0.01)


def said(error: Exception) -> dict[str, Any]:
    return {"detail": str(error)}


def body(encoded: Encoded) -> bytes:
    joined = b"".join(encoded.pieces)
    assert len(joined) == encoded.length
    return joined


def level(*shape: int, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_octet_stream_byte_by_byte() -> None:
    first, second = level(1, 2, 2, 3), level(1, 3, dtype="f2", seed=1)
    encoded = encode(reply({"res5": first, "res4": second}), "application/octet-stream", said)
    data = body(encoded)
    length = int(encoded.headers[LENGTH_HEADER])
    document = json.loads(data[:length])
    assert document["outputs"] == [
        {
            "name": "res5",
            "datatype": "FP32",
            "shape": [1, 2, 2, 3],
            "parameters": {"level": "res5", "image": 0, "stride": 32, "binary_data_size": 48},
        },
        {
            "name": "res4",
            "datatype": "FP16",
            "shape": [1, 3],
            "parameters": {"level": "res4", "image": 0, "stride": 32, "binary_data_size": 6},
        },
    ]
    assert len(data) == length + 48 + 6
    values = [np.frombuffer(data[length + 4 * n : length + 4 * n + 4], "<f4")[0] for n in range(12)]
    np.testing.assert_array_equal(np.reshape(values, (1, 2, 2, 3)), first)
    np.testing.assert_array_equal(np.frombuffer(data[length + 48 :], "<f2").reshape(1, 3), second)


@pytest.mark.parametrize("media", [media for media in MEDIA_TYPES if media != "application/json"])
def test_tensors_are_not_copied_on_their_way_out(media: MediaType) -> None:
    array = level(1, 2, 5, 5)
    encoded = encode(reply({"res5": array}), media, said)
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in encoded.pieces)
    assert format_of(media) == Format()
    # Only the checksums of an npz read the data through.
    assert is_brief(reply({"res5": array}), media) == (media != "application/x-npz")


def test_big_endian_and_strided_arrays_come_out_little_endian_and_dense() -> None:
    array = level(1, 4, 3, 2).astype(">f4")[:, ::2]
    pieces = encode(reply({"res5": array}), "application/octet-stream", said).pieces
    np.testing.assert_array_equal(np.frombuffer(pieces[1], "<f4").reshape(array.shape), array)


def test_an_empty_tensor_takes_no_bytes() -> None:
    encoded = encode(reply({"res5": np.zeros((0, 4, 7, 7), np.float32)}), "application/octet-stream", said)
    document = json.loads(bytes(encoded.pieces[0]))
    assert document["outputs"][0]["shape"] == [0, 4, 7, 7]
    assert document["outputs"][0]["parameters"]["binary_data_size"] == 0 == len(encoded.pieces[1])


def test_everything_about_the_answer_is_said() -> None:
    document = describe(reply({"res5": level(1, 2)}, ImageError("unreadable", "cut off")), said)
    assert {key: document[key] for key in ("model", "version", "digest", "provider", "precision")} == {
        "model": "tiny",
        "version": 3,
        "digest": "sha256:abc",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
    }
    good, bad = document["images"]
    assert good == {
        "index": 0,
        "name": "0.jpg",
        "format": "JPEG",
        "orientation": 6,
        "original": {"width": 50, "height": 70},
        "oriented": {"width": 70, "height": 50},
        "network": {"width": 64, "height": 32},
        "scale": {"x": 0.5, "y": 0.5},
        "padding": {"right": 29, "bottom": 7},
        "converted_from": "CMYK",
        "animated": True,
        "provider": "",
        "timings_ms": {"decode": 1.0, "queue": 2.0, "compute": 3.0, "encode": 0.0},
    }
    assert bad == {"index": 1, "name": "1.jpg", "error": {"detail": "cut off"}}
    assert [output["name"] for output in document["outputs"]] == ["0/res5"]
    assert document["timings_ms"] == {"decode": 2.0, "queue": 4.0, "compute": 6.0, "encode": 0.0, "total": 10.0}
    json.dumps(document)


def test_remembered_answers_are_said_to_be() -> None:
    made = reply({"res5": level(1, 2)}, {"res5": level(1, 2)})
    for cached, header in ((0, None), (1, "detco; fwd=partial"), (2, "detco; hit")):
        images = tuple(replace(image, cached=image.index < cached) for image in made.images)
        encoded = encode(replace(made, images=images), "application/json", said)
        assert encoded.headers.get("Cache-Status") == header
        assert [image.get("cached", False) for image in json.loads(body(encoded))["images"]] == [
            index < cached for index in range(2)
        ]


def test_values_that_overflowed_are_counted() -> None:
    answer = reply({"res5": level(1, 2)})
    tensor = Tensor(0, "res5", 32, np.array([[np.inf, 1]], np.float16), Cast(overflow=1))
    image = ImageReply(0, None, Timings(), FACTS, (tensor,))
    document = describe(FeatureReply(answer.model, (image,), 0.0), said)
    assert document["outputs"][0]["parameters"]["overflow"] == 1


@pytest.mark.parametrize("media", ["application/x-npz", "application/x-safetensors"])
def test_archives_hold_the_same_arrays_and_the_rest_as_json(media: MediaType) -> None:
    images = {"res5": level(1, 2, 3, 4)}, {"res5": level(1, 2, 5, 6, dtype="f2", seed=1)}
    data = body(encode(reply(*images), media, said))
    if media == "application/x-npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            found: dict[str, np.ndarray] = dict(archive)
        meta = str(found.pop("meta"))
    else:
        found = load_safetensors(data)
        length = int.from_bytes(data[:8], "little")
        meta = json.loads(data[8 : 8 + length])["__metadata__"]["meta"]
    assert found.keys() == {"0/res5", "1/res5"}
    for index in range(2):
        np.testing.assert_array_equal(found[f"{index}/res5"], images[index]["res5"])
        assert found[f"{index}/res5"].dtype == images[index]["res5"].dtype
    assert json.loads(meta)["images"][1]["index"] == 1


def test_json_holds_the_numbers() -> None:
    array = level(1, 2, 3)
    encoded = encode(reply({"res5": array}), "application/json", said)
    output = json.loads(body(encoded))["outputs"][0]
    np.testing.assert_array_equal(np.array(output["data"], np.float32), array)
    assert "binary_data_size" not in output["parameters"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_json_refuses_what_it_cannot_say(value: float) -> None:
    with pytest.raises(ReplyTooLarge, match="octet-stream"):
        encode(reply({"res5": np.array([[1, value]], np.float32)}), "application/json", said)


@pytest.mark.parametrize("media", MEDIA_TYPES)
def test_timings_are_a_header_too(media: MediaType) -> None:
    header = encode(reply({"res5": level(1, 2)}), media, said).headers["Server-Timing"]
    assert header == "decode;dur=1.0, queue;dur=2.0, compute;dur=3.0, encode;dur=0.0, total;dur=10.0"


@pytest.mark.parametrize("levels", [("p2", "p3"), ()])
def test_regions_of_several_levels_name_them_also_when_there_are_none(levels: tuple[str, ...]) -> None:
    tensor = Tensor(0, "assigned", None, level(len(levels), 2), Cast(), levels)
    whole = reply({})
    (image,) = whole.images
    document = describe(replace(whole, images=(replace(image, tensors=(tensor,)),)), said)
    assert document["outputs"][0]["parameters"] == {
        "level": "assigned",
        "image": 0,
        "stride": None,
        "levels": list(levels),
    }
