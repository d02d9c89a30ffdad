"""Answers of the protocol: binary and JSON outputs side by side, classes, and places in shared memory."""

import json
from typing import Any

import numpy as np
import pytest

from server.features.errors import BadTensor
from server.features.oip.inferred import Inferred
from server.features.oip.replies import JSON_VALUES, copied, lay_out, sent
from server.features.oip.requests import InferRequest, OutputWish, Region
from server.features.replies.encoded import Encoded

ARRAYS: dict[str, np.ndarray] = {
    "res5": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2),
    "pooled": np.array([[3, 9, 1], [5, 5, 7]], np.float32),
}


def answer(*wishes: OutputWish, **more: Any) -> tuple[dict[str, Any], bytes, Encoded]:
    written: list[Any] = []
    encoded = lay_out(
        InferRequest((), wishes or None, **more),
        Inferred("tiny", 3, ARRAYS, {"provider": "CPU"}),
        lambda region, data: written.append((region, bytes(data))),
    )
    body = b"".join(encoded.pieces)
    length = int(encoded.headers.get("Inference-Header-Content-Length", len(body)))
    return json.loads(body[:length]), body[length:], encoded


def test_what_is_copied_and_what_is_sent_is_known_before() -> None:
    inferred = Inferred("tiny", 3, ARRAYS, {})
    region = Region("mine", 0, 100)

    def counted(*wishes: OutputWish, **more: Any) -> tuple[int, int]:
        request = InferRequest((), wishes or None, **more)
        return copied(request, inferred), sent(request, inferred)

    as_json = counted()
    assert as_json[0] >= 18 * 100
    assert counted(binary=True) == (0, 12 * 4 + 6 * 4)
    assert counted(OutputWish("res5", region=region), OutputWish("pooled", binary=True)) == (0, 24)
    assert counted(OutputWish("pooled", classification=1, binary=True))[0] >= 24 + 6 * 8 + 2 * 100


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_bounded_whatever_their_form(binary: bool) -> None:
    arrays: dict[str, np.ndarray] = {"res2": np.zeros((2, JSON_VALUES // 2 + 1), np.float32)}
    request = InferRequest((), (OutputWish("res2", binary, classification=2**30),))
    inferred = Inferred("tiny", 3, arrays, {})
    with pytest.raises(BadTensor, match="of each of 2 pictures"):
        copied(request, inferred)
    with pytest.raises(BadTensor, match="of each of 2 pictures"):
        lay_out(request, inferred, lambda region, data: None)


def test_all_outputs_as_json_by_default() -> None:
    document, rest, encoded = answer(id="mine")
    assert (encoded.media_type, rest) == ("application/json", b"")
    assert {key: document[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "tiny",
        "model_version": "3",
        "id": "mine",
    }
    assert document["outputs"][0] == {
        "name": "res5",
        "datatype": "FP32",
        "shape": [1, 3, 2, 2],
        "data": list(range(12)),
    }


def test_an_outputs_own_wish_wins_over_the_requests() -> None:
    document, rest, encoded = answer(OutputWish("res5"), OutputWish("pooled", binary=False), binary=True)
    assert encoded.media_type == "application/octet-stream"
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 48}
    assert "data" not in document["outputs"][0]
    assert document["outputs"][1]["data"] == [3, 9, 1, 5, 5, 7]
    assert rest == ARRAYS["res5"].tobytes()


def test_classes_are_the_highest_values_of_each_picture() -> None:
    document, rest, _ = answer(OutputWish("pooled", classification=2), OutputWish("res5", binary=True))
    assert document["outputs"][0]["datatype"] == "BYTES"
    assert document["outputs"][0]["shape"] == [2, 2]
    assert document["outputs"][0]["data"] == ["9.000000:1", "3.000000:0", "7.000000:2", "5.000000:0"]
    assert len(rest) == 48
    more, _, _ = answer(OutputWish("pooled", classification=50))
    assert more["outputs"][0]["shape"] == [2, 3]


def test_an_output_goes_into_shared_memory() -> None:
    written: list[tuple[Region, bytes]] = []
    region = Region("r", 8, 100)
    encoded = lay_out(
        InferRequest((), (OutputWish("res5", region=region),)),
        Inferred("tiny", 3, ARRAYS, {}),
        lambda where, data: written.append((where, bytes(data))),
    )
    assert written == [(region, ARRAYS["res5"].tobytes())]
    (output,) = json.loads(bytes(encoded.pieces[0]))["outputs"]
    assert output["parameters"] == {
        "shared_memory_region": "r",
        "shared_memory_byte_size": 48,
        "shared_memory_offset": 8,
    }


def test_json_is_bounded_and_says_how_else() -> None:
    many: dict[str, np.ndarray] = {"res2": np.zeros((1, JSON_VALUES + 1), np.float32)}
    with pytest.raises(BadTensor, match="binary_data_output"):
        lay_out(InferRequest(()), Inferred("tiny", 1, many, {}), lambda region, data: None)


def test_bytes_have_one_scale_for_all_pictures_of_an_output() -> None:
    inferred = Inferred("tiny", 3, ARRAYS, {}, int8=True)
    wishes = (OutputWish("res5", binary=True), OutputWish("pooled"), OutputWish("pooled", classification=1))
    encoded = lay_out(InferRequest((), wishes), inferred, lambda region, data: None)
    res5, pooled, classes = json.loads(bytes(encoded.pieces[0]))["outputs"]
    numbers = np.frombuffer(encoded.pieces[1], np.int8).reshape(1, 3, 2, 2)
    assert res5["parameters"] == {"scale": pytest.approx(11 / 127), "binary_data_size": 12}
    np.testing.assert_allclose(numbers * res5["parameters"]["scale"], ARRAYS["res5"], atol=11 / 127 / 2)
    assert (pooled["datatype"], pooled["shape"], pooled["parameters"]) == (
        "INT8",
        [2, 3],
        {"scale": pytest.approx(9 / 127)},
    )
    assert (classes["shape"], classes["data"]) == ([2, 1], ["9.000000:1", "7.000000:2"])


def test_what_float16_could_not_hold_is_counted() -> None:
    half: dict[str, np.ndarray] = {"res5": np.full((1, 1), np.inf, np.float16), "pooled": np.ones((1, 1), np.float16)}
    wishes = (OutputWish("res5", binary=True), OutputWish("pooled", binary=True))
    encoded = lay_out(InferRequest((), wishes), Inferred("tiny", 3, half, {}, {"res5": 1}), lambda region, data: None)
    res5, pooled = json.loads(bytes(encoded.pieces[0]))["outputs"]
    assert res5["parameters"] == {"overflow": 1, "binary_data_size": 2}
    assert pooled["parameters"] == {"binary_data_size": 2}


def test_float16_has_no_json_form_and_comes_as_binary_data_unless_json_is_asked_for() -> None:
    half: dict[str, np.ndarray] = {"res5": np.ones((1, 3), np.float16), "pooled": np.ones((1, 3), np.float32)}
    inferred = Inferred("tiny", 3, half, {})

    def laid_out(*wishes: OutputWish, **more: Any) -> tuple[Any, bytes]:
        encoded = lay_out(InferRequest((), wishes or None, **more), inferred, lambda region, data: None)
        head, *data = map(bytes, encoded.pieces)
        return {output["name"]: output.get("data") for output in json.loads(head)["outputs"]}, b"".join(data)

    assert laid_out() == ({"res5": None, "pooled": [1, 1, 1]}, half["res5"].tobytes())
    assert copied(InferRequest((), (OutputWish("res5"),)), inferred) == 0
    classes = laid_out(OutputWish("res5", classification=1))
    assert classes == ({"res5": ["1.000000:0"]}, b"")
    for wish, binary in ((OutputWish("res5", binary=False), None), (OutputWish("res5"), False)):
        with pytest.raises(BadTensor, match="FP16 has no JSON form"):
            laid_out(wish, binary=binary)
