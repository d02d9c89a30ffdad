"""Headers, bodies and tensors of the protocol that lie about themselves: an error in its form, and the server lives."""

import gzip
import json
import socket
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.serving.service import MODEL
from tests.integration.serving.conftest import LENGTH, Door, noise

PIXELS = f"{MODEL}_tensor"


def tensor(shape: Any, datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    return {"name": "pixels", "shape": shape, "datatype": datatype, **more}


def body(document: Any, raw: bytes = b"") -> tuple[bytes, dict[str, str]]:
    head = json.dumps(document).encode()
    return head + raw, {LENGTH: str(len(head))}


def bytes_input(*items: bytes) -> tuple[bytes, dict[str, str]]:
    raw = b"".join(len(item).to_bytes(4, "little") + item for item in items)
    parameters = {"binary_data_size": len(raw)}
    image = {"name": "image", "shape": [len(items)], "datatype": "BYTES", "parameters": parameters}
    return body({"inputs": [image], "outputs": [{"name": "pooled"}]}, raw)


def error(answer: httpx.Response, *statuses: int) -> str:
    assert answer.status_code in (statuses or (400,)), answer.text[:500]
    assert list(answer.json()) == ["error"]
    assert len(answer.content) < 1000
    return str(answer.json()["error"])


class TestLengths:
    @pytest.mark.parametrize(
        "length", ["", "x", "-1", "1.0", "0x10", "9" * 9, "2147483648", "9" * 400, "1e3", "+5", "1 2", "0", "3"]
    )
    def test_a_length_of_the_header_that_is_none(self, door: Door, length: str) -> None:
        content, _ = body({"inputs": [tensor([1, 3, 2, 2], data=[0] * 12)]})
        error(door.infer(content, PIXELS, **{LENGTH: length}))

    def test_two_lengths(self, door: Door) -> None:
        content, headers = body({"inputs": [tensor([1, 3, 2, 2], data=[0] * 12)]})
        sent = [(LENGTH, headers[LENGTH]), (LENGTH, "5"), ("Content-Type", "application/octet-stream")]
        answer = door.client.post(f"/v2/models/{PIXELS}/infer", content=content, headers=sent)
        assert answer.status_code in (200, 400)

    @pytest.mark.parametrize("raw", [b"", bytes(11), bytes(13), bytes(24)])
    def test_bytes_that_are_missing_or_left(self, door: Door, raw: bytes) -> None:
        document = {"inputs": [tensor([1, 3, 2, 2], parameters={"binary_data_size": 12})]}
        content, headers = body(document, raw)
        error(door.infer(content, PIXELS, **headers))

    @pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999", "5, 6", "0x5"])
    @pytest.mark.parametrize("path", ["/features", f"/v2/models/{MODEL}/infer"])
    def test_a_content_length_that_is_none(self, door: Door, path: str, length: str) -> None:
        url = door.client.base_url
        token = door.client.headers["authorization"]
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: image/png\r\n"
        with socket.create_connection((url.host, url.port or 80), timeout=20) as line:
            line.sendall(f"{head}Content-Length: {length}\r\n\r\nhello".encode())
            answer = line.recv(4096)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))

    def test_a_body_that_never_comes_holds_nobody_up(self, door: Door) -> None:
        url = door.client.base_url
        lines = [socket.create_connection((url.host, url.port or 80), timeout=20) for _ in range(20)]
        head = f"POST /features HTTP/1.1\r\nHost: x\r\nAuthorization: {door.client.headers['authorization']}\r\n"
        for line in lines:
            line.sendall(f"{head}Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf".encode())
        np.testing.assert_array_equal(door.tensors(door.features(door.good))["res5"], door.expected)
        for line in lines:
            line.close()

    def test_a_body_in_pieces_without_a_length(self, door: Door) -> None:
        pieces = (door.good[start : start + 100] for start in range(0, len(door.good), 100))
        answer = door.client.post("/features", content=pieces, headers={"Content-Type": "image/png"})
        np.testing.assert_array_equal(door.tensors(answer)["res5"], door.expected)
        endless = (bytes(2**16) for _ in range(40))
        answer = door.client.post("/features", content=endless, headers={"Content-Type": "image/png"})
        door.refused(answer, 413, "body_too_large")


class TestTensors:
    @pytest.mark.parametrize(
        "shape",
        [
            [-1, 3, 2, 2],
            [1, 3, -2, -2],
            [2**62, 4, 2, 2],
            [2**31, 2**31, 2**31, 2],
            [1e2, 3, 2, 2],
            [True, 3, 2, 2],
            ["1", 3, 2, 2],
            [[1], 3, 2, 2],
            [1] * 64,
            [],
            "1,3,2,2",
            None,
            {"0": 1},
            [1, 3, 0, 2],
            [0, 3, 2, 2],
            [12],
        ],
        ids=str,
    )
    def test_shapes_that_are_none(self, door: Door, shape: Any) -> None:
        for more, raw in (({"data": [0] * 12}, b""), ({"parameters": {"binary_data_size": 12}}, bytes(12))):
            content, headers = body({"inputs": [tensor(shape, **more)]}, raw)
            error(door.infer(content, PIXELS, **headers))

    @pytest.mark.parametrize(
        "dtype",
        [
            "BOOL",
            *(f"{kind}{bits}" for kind in ("UINT", "INT") for bits in (16, 32, 64)),
            "INT8",
            "FP16",
            "FP64",
            "BF16",
            "BYTES",
        ],
    )
    def test_types_the_model_does_not_take(self, door: Door, dtype: str) -> None:
        size = 12 * int("".join(filter(str.isdigit, dtype)) or "8") // 8
        parameters = {"binary_data_size": size}
        content, headers = body({"inputs": [tensor([1, 3, 2, 2], dtype, parameters=parameters)]}, bytes(size))
        assert "pixels" in error(door.infer(content, PIXELS, **headers))

    @pytest.mark.parametrize("dtype", ["UINT8", "FP32"])
    def test_types_it_takes(self, door: Door, dtype: str) -> None:
        pixels = noise(40, 30).transpose(2, 0, 1)[None].astype({"UINT8": np.uint8, "FP32": np.float32}[dtype])
        parameters = {"binary_data_size": pixels.nbytes}
        wish = {"name": "res5", "parameters": {"binary_data": True}}
        document = {"inputs": [tensor(list(pixels.shape), dtype, parameters=parameters)], "outputs": [wish]}
        content, headers = body(document, pixels.tobytes())
        answer = door.infer(content, PIXELS, **headers)
        assert door.tensors(answer)["res5"].shape == (1, 10, 1, 2)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_values_that_are_not_finite(self, door: Door, value: float) -> None:
        raw = np.full((1, 3, 8, 8), value, np.float32).tobytes()
        document = {"inputs": [tensor([1, 3, 8, 8], "FP32", parameters={"binary_data_size": len(raw)})]}
        content, headers = body(document, raw)
        answer = door.infer(content, PIXELS, **headers)
        assert answer.status_code in (200, 400), answer.text

    @pytest.mark.parametrize("seed", range(4))
    def test_random_bytes_arrive_as_they_are(self, door: Door, seed: int) -> None:
        """They are no picture, and the answer says so without showing them; a picture's bytes are one."""
        junk = np.random.default_rng(seed).bytes(5000)
        content, headers = bytes_input(junk)
        assert "no image" in error(door.infer(content, **headers))
        content, headers = bytes_input(door.good)
        assert door.infer(content, **headers).status_code == 200

    @pytest.mark.parametrize("text", ["nan", "null", "[]", "{}", '""', "1" * 500, "[" * 5000, '{"inputs":' * 500])
    def test_json_that_is_none(self, door: Door, text: str) -> None:
        error(door.infer(f'{{"inputs": {text}}}'.encode(), PIXELS))

    def test_names_with_null_characters(self, door: Door) -> None:
        for name in (f"{MODEL}%00", "%00", "..%2f..%2fetc", "a" * 5000):
            assert door.client.get(f"/v2/models/{name}").status_code == 404
        document = {"inputs": [tensor([1, 3, 2, 2], data=[0] * 12)], "outputs": [{"name": "res5\0"}]}
        error(door.infer(json.dumps(document).encode(), PIXELS))


class TestCompression:
    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_a_bomb_is_cut_off(self, door: Door, encoding: str) -> None:
        zeros = bytes(40 * 2**20)
        bomb = gzip.compress(zeros, 9) if encoding == "gzip" else zlib.compress(zeros, 9)
        assert len(bomb) < 2**20
        error(door.infer(bomb, **{"Content-Encoding": encoding}), 400, 413)

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    @pytest.mark.parametrize("data", [b"", b"junk", gzip.compress(b"{}", mtime=0)[:-3], b"\x1f\x8b" + bytes(50)])
    def test_what_is_no_such_stream(self, door: Door, encoding: str, data: bytes) -> None:
        error(door.infer(data, **{"Content-Encoding": encoding}))

    @pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "x" * 3000, "gzip;q=0"])
    def test_other_encodings_are_a_501(self, door: Door, encoding: str) -> None:
        error(door.infer(b"{}", **{"Content-Encoding": encoding}), 501, 400)


class TestOfFeatures:
    @pytest.mark.parametrize(
        "kind", ["", ";", "image", "image/*", "*/*", "image/jpeg" * 500, "multipart/form-data", "a/\xff"]
    )
    def test_content_types(self, door: Door, kind: str) -> None:
        headers = [(b"content-type", kind.encode("latin-1"))]
        answer = door.client.post("/features", content=door.good, headers=headers)
        assert 400 <= answer.status_code < 500, answer.text[:300]

    @pytest.mark.parametrize(
        "accept", ["", ",", ";q=x", "*/*;q=nan", "application/octet-stream;q=9", "a" * 5000, "\xff"]
    )
    def test_accepts(self, door: Door, accept: str) -> None:
        headers = [(b"content-type", b"image/png"), (b"accept", accept.encode("latin-1"))]
        answer = door.client.post("/features", content=door.good, headers=headers)
        assert answer.status_code in (200, 406), answer.text[:300]

    @pytest.mark.parametrize("token", ["", "Bearer", "Basic eA==", "Bearer \xff\xfe", "Bearer " + "x" * 5000])
    def test_tokens(self, door: Door, token: str) -> None:
        headers = [(b"content-type", b"image/png"), (b"authorization", token.encode("latin-1"))]
        with httpx.Client(base_url=door.client.base_url, timeout=60) as client:
            assert client.post("/features", content=door.good, headers=headers).status_code == 401

    @pytest.mark.parametrize(
        "query",
        [
            "levels=%00",
            "levels=" + "res5," * 1000,
            "model=%ff%fe",
            "model=" + "a" * 5000,
            "timeout_ms=1e400",
            "timeout_ms=-1",
            "dtype=float32&dtype=int8",
            "resize=%7B%22height%22%3A1e9%2C%22width%22%3A1e9%7D",
            "resize=%7B%22height%22%3A65536%2C%22width%22%3A65536%7D",
            "expect_digest=" + "0" * 3000,
            "%00=1",
        ],
    )
    def test_parameters(self, door: Door, query: str) -> None:
        answer = door.client.post(f"/features?{query}", content=door.good, headers={"Content-Type": "image/png"})
        assert 400 <= answer.status_code < 500, answer.text[:300]
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) < 3000
