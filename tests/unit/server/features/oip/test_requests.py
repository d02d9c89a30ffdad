"""Requests of the protocol: what is binary is taken from behind the JSON, and nothing is left or missing."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.features.errors import BadTensor
from server.features.oip.requests import InferRequest, OutputWish, Region, read_request


def no_memory(region: Region) -> memoryview:
    raise AssertionError


def read(document: Any, raw: bytes = b"", header: str | None = "") -> InferRequest:
    head = json.dumps(document).encode()
    return read_request(head + raw, str(len(head)) if header == "" else header, no_memory)


def pixels(**more: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [2], **more}


def test_binary_and_json_inputs_side_by_side() -> None:
    document = {
        "id": "mine",
        "inputs": [pixels(parameters={"binary_data_size": 2}), {**pixels(data=[3, 4]), "name": "other"}],
        "outputs": [{"name": "res5", "parameters": {"binary_data": True}}, {"name": "pooled"}],
        "parameters": {"timeout": 5},
    }
    request = read(document, b"\1\2")
    assert [np.asarray(tensor.values).tolist() for tensor in request.inputs] == [[1, 2], [3, 4]]
    assert request.outputs == (OutputWish("res5", binary=True), OutputWish("pooled"))
    assert (request.id, request.parameters, request.binary) == ("mine", {"timeout": 5}, None)


def test_all_outputs_binary_when_none_are_named() -> None:
    request = read({"inputs": [pixels(data=[1, 2])], "parameters": {"binary_data_output": True}}, header=None)
    assert (request.outputs, request.binary) == (None, True)


def test_a_header_of_zero_makes_the_body_the_input() -> None:
    assert read_request(b"{not json", "0", no_memory) == InferRequest((), raw=b"{not json", binary=True)


@pytest.mark.parametrize(
    ("given", "kept"), [("", ""), ("ü" * 5000, "ü" * 5000), ("\ud800", "\ud800"), (7, "7"), (None, None)]
)
def test_an_id_is_kept_whole(given: object, kept: str | None) -> None:
    assert read({"id": given, "inputs": [pixels(data=[1, 2])]}, header=None).id == kept


def test_shared_memory_in_place_of_bytes() -> None:
    asked: list[Region] = []

    def memory(region: Region) -> memoryview:
        asked.append(region)
        return memoryview(b"\7\10")

    where = {"shared_memory_region": "r", "shared_memory_byte_size": 2, "shared_memory_offset": 5}
    document = {"inputs": [pixels(parameters=where)], "outputs": [{"name": "res5", "parameters": where}]}
    request = read_request(json.dumps(document).encode(), None, memory)
    assert asked == [Region("r", 5, 2)]
    assert np.asarray(request.inputs[0].values).tolist() == [7, 8]
    assert request.outputs == (OutputWish("res5", region=Region("r", 5, 2)),)


@pytest.mark.parametrize("header", ["x", "-1", "99999", "9" * 400, "1.0", "٣", "0x10", " 5"])
def test_a_length_that_is_none(header: str) -> None:
    with pytest.raises(BadTensor, match="Inference-Header-Content-Length"):
        read({"inputs": [pixels(data=[1, 2])]}, header=header)


@pytest.mark.parametrize(
    ("document", "raw"),
    [
        ([], b""),
        ({}, b""),
        ({"inputs": []}, b""),
        ({"inputs": {}}, b""),
        ({"inputs": [5]}, b""),
        ({"inputs": [{"datatype": "UINT8", "shape": [1], "data": [1]}]}, b""),
        ({"inputs": [pixels()]}, b""),
        ({"inputs": [pixels(data=[1, 2], parameters={"binary_data_size": 2})]}, b"\1\2"),
        ({"inputs": [pixels(parameters={"binary_data_size": 2})]}, b"\1"),
        ({"inputs": [pixels(parameters={"binary_data_size": 2})]}, b"\1\2\3"),
        ({"inputs": [pixels(parameters={"binary_data_size": -2})]}, b"\1\2"),
        ({"inputs": [pixels(parameters={"binary_data_size": "2"})]}, b"\1\2"),
        ({"inputs": [pixels(parameters={"binary_data_size": True})]}, b"\1\2"),
        ({"inputs": [pixels(parameters=[])]}, b""),
        ({"inputs": [pixels(data=[1, 2], shape=5)]}, b""),
        ({"inputs": [pixels(data=[1, 2], shape=None)]}, b""),
        ({"inputs": [pixels(data=[1, 2]), pixels(data=[1, 2])]}, b""),
        ({"inputs": [pixels(data=[1, 2])], "outputs": [{"name": "a"}, {"name": "a"}]}, b""),
        ({"inputs": [pixels(data=[1, 2])], "outputs": []}, b""),
        ({"inputs": [pixels(data=[1, 2])], "outputs": [{"name": "a", "parameters": {"binary_data": 1}}]}, b""),
        ({"inputs": [pixels(data=[1, 2])], "outputs": [{"name": "a", "parameters": {"classification": -1}}]}, b""),
        ({"inputs": [pixels(data=[1, 2])], "parameters": 3}, b""),
        ({"inputs": [pixels(data=[1, 2])], "parameters": {"binary_data_output": "true"}}, b""),
        ({"inputs": [pixels(data=[1, 2])], "id": {"a": 1}}, b""),
        ({"inputs": [pixels(data=[1, 2])], "id": True}, b""),
        ({"inputs": [pixels(parameters={"shared_memory_region": "r"})]}, b""),
        ({"inputs": [pixels(parameters={"shared_memory_region": 5, "shared_memory_byte_size": 2})]}, b""),
    ],
)
def test_requests_that_do_not_fit_themselves(document: Any, raw: bytes) -> None:
    with pytest.raises(BadTensor):
        read(document, raw)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"{}x", b'{"inputs": NaN'])
def test_bodies_that_are_no_json(body: bytes) -> None:
    with pytest.raises(BadTensor):
        read_request(body, None, no_memory)


@given(st.binary(max_size=60), st.text(max_size=3) | st.integers(-5, 70).map(str) | st.none())
def test_junk_never_raises_anything_else(body: bytes, header: str | None) -> None:
    try:
        request = read_request(body, header, no_memory)
    except BadTensor:
        return
    assert request.raw == body
