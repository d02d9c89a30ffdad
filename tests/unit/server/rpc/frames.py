"""HTTP/2 by hand, for callers that no library would make."""

import struct
from collections.abc import Mapping

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4


def call_without_a_window(path: str, metadata: Mapping[str, str]) -> bytes:
    """A new connection with a call whose message is empty, and whose answer there is no room for."""
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "here"}
    headers |= {"te": "trailers", "content-type": "application/grpc", **metadata}
    return b"".join(
        (
            _PREFACE,
            _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0)),
            _frame(_HEADERS, _END_HEADERS, 1, b"".join(_literal(*header) for header in headers.items())),
            _frame(_DATA, _END_STREAM, 1, bytes(5)),
        )
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """A header as it is, for no table."""
    texts = (name.encode(), value.encode())
    assert all(len(text) < 127 for text in texts)
    return b"\x00" + b"".join(bytes((len(text),)) + text for text in texts)
