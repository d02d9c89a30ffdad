"""Compressed bodies, both ways, and those that would unfold without end."""

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest
import zstandard

from server.features.replies.encoded import Encoded
from server.http.answers.compression import ENCODINGS, compress, decompress, wished
from server.http.problems import BodyTooLarge, Problem

_GZIP = gzip.compress(b"abc", mtime=0)
"""The same at each call: it is in the names of tests, which two processes must agree on."""


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", _GZIP), ("deflate", zlib.compress(b"abc")), ("identity", b"abc")]
)
def test_known_codings_are_read(encoding: str, body: bytes) -> None:
    assert decompress(body, encoding, 3) == b"abc"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"", 501),
        ("zstd", b"", 501),
        ("gzip", b"abc", 400),
        ("gzip", _GZIP[:-1], 400),
        ("deflate", b"", 400),
        ("gzip", _GZIP + b"x", 400),
        ("gzip", _GZIP * 2, 400),
        ("deflate", zlib.compress(b"abc") + b"x", 400),
    ],
)
def test_what_cannot_be_read_is_named(encoding: str, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as raised:
        decompress(body, encoding, 100)
    assert raised.value.status == status
    assert (raised.value.headers.get("Accept-Encoding") == "gzip, deflate") == (status == 501)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *[(None, None), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", None), ("br", None), ("*", None)],
        *[("ZSTD", "zstd"), ("zstd;q=0", None), ("zstd, identity;q=0.5", "zstd"), ("zstd;q=0.5, identity", None)],
        *[("gzip, deflate, br, zstd", None), ("zstd, gzip;q=0", "zstd"), ("zstd;q=x", None), (",", None)],
    ],
)
def test_only_a_client_that_insists_gets_a_compressed_answer(header: str | None, expected: str | None) -> None:
    assert wished(header, ("gzip", "deflate", "zstd")) == expected
    assert wished(header, ()) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *[("zstd, identity;q=0", "zstd"), ("identity;q=0, zstd;q=0.5, gzip", "gzip"), ("identity;q=0, *", "gzip")],
        *[("gzip;q=0, *;q=0, zstd;q=0.1", "zstd"), ("identity;q=0, br, *;q=0.2, gzip;q=0", "zstd")],
        *[("identity;q=0", None), ("*;q=0", None), ("identity;q=0, br", None), ("br, *;q=0", None)],
    ],
)
def test_who_refuses_the_answer_as_it_is_gets_it_otherwise_or_hears_why_not(header: str, expected: str | None) -> None:
    if expected is not None:
        assert wished(header, ("gzip", "zstd")) == expected
        return
    with pytest.raises(Problem, match="gzip and zstd") as raised:
        wished(header, ("gzip", "zstd"))
    assert raised.value.status == 406


@pytest.mark.parametrize(
    ("encoding", "read"), [("gzip", gzip.decompress), ("deflate", zlib.decompress), ("zstd", zstandard.decompress)]
)
def test_an_answer_is_the_same_behind_its_coding(encoding: str, read: object) -> None:
    assert callable(read)
    tensor = np.maximum(np.random.default_rng(0).standard_normal(2**19, np.float32), 0).view(np.uint8).data
    made = compress(Encoded("x/y", [b"head", tensor], {"A": "4"}), encoding)
    assert read(b"".join(made.pieces)) == b"head" + tensor
    assert made.length < 0.8 * len(tensor)
    assert made.headers == {"A": "4", "Content-Encoding": encoding}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_of_a_bomb_no_more_is_unpacked_than_is_taken(encoding: str) -> None:
    writer = zlib.compressobj(wbits=ENCODINGS[encoding])
    bomb = writer.compress(bytes(2**24)) + writer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decompress(bomb, encoding, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20
