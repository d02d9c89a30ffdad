"""Compressed bodies, both ways, and those that would unfold without end."""

import gzip
import zlib

import pytest

from server.features.encode import Encoded
from server.http.compression import compress, decompress, wished
from server.http.problems import BodyTooLarge, Problem


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(b"abc")), ("deflate", zlib.compress(b"abc")), ("identity", b"abc")]
)
def test_known_codings_are_read(encoding: str, body: bytes) -> None:
    assert decompress(body, encoding, 3) == b"abc"


def test_a_bomb_is_cut_off() -> None:
    with pytest.raises(BodyTooLarge):
        decompress(gzip.compress(bytes(10**7)), "gzip", 1000)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [("br", b"", 501), ("gzip", b"abc", 400), ("gzip", gzip.compress(b"abc")[:-1], 400), ("deflate", b"", 400)],
)
def test_what_cannot_be_read_is_named(encoding: str, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as raised:
        decompress(body, encoding, 100)
    assert raised.value.status == status
    assert (raised.value.headers.get("Accept-Encoding") == "gzip, deflate") == (status == 501)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", None), ("br", None), ("*", None)],
)
def test_only_a_client_that_insists_gets_a_compressed_answer(header: str | None, expected: str | None) -> None:
    assert wished(header) == expected


@pytest.mark.parametrize(("encoding", "read"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_an_answer_is_the_same_behind_its_coding(encoding: str, read: object) -> None:
    assert callable(read)
    made = compress(Encoded("x/y", [b"head", memoryview(b"tensor")], {"A": "4"}), encoding)
    assert read(b"".join(made.pieces)) == b"headtensor"
    assert made.headers == {"A": "4", "Content-Encoding": encoding}
