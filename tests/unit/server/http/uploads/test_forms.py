"""Forms are read whole or not at all: what is cut off must not pass for a shorter form."""

import asyncio

import pytest
from fastapi import Request
from starlette.types import Message

from server.http.problems import Problem
from server.http.uploads.forms import read_form

PART = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%s\r\n'
FORM = PART % b"first" + PART % b"second" + b"--B--\r\n"


def read(*chunks: bytes, files: int = 5) -> list[bytes]:
    """The contents of the files of a body that comes in these pieces."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    pieces: list[Message] = [*messages, {"type": "http.request", "body": b""}]

    async def receive() -> Message:
        return pieces.pop(0)

    async def run() -> list[bytes]:
        scope = {"type": "http", "headers": [(b"content-type", b"multipart/form-data; boundary=B")]}
        async with read_form(Request(scope, receive), files=files, fields=5, field_bytes=100) as form:
            return [await part.read() for part in form.getlist("image") if not isinstance(part, str)]

    return asyncio.run(run())


@pytest.mark.parametrize("rest", [b"", b"what follows a form is no part of it"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_whole_form_in_pieces_of_any_size(size: int, rest: bytes) -> None:
    body = FORM + rest
    assert read(*(body[at : at + size] for at in range(0, len(body), size))) == [b"first", b"second"]


@pytest.mark.parametrize("kept", range(0, len(FORM) - 4, 9))
def test_what_is_cut_off_is_refused(kept: int) -> None:
    with pytest.raises(Problem, match="cut off") as raised:
        read(FORM[:kept])
    assert raised.value.status == 400


@pytest.mark.parametrize("body", [b"junk", FORM.replace(b"\r\n", b"\n"), b"--B\r\nX: 1\r\n\r\nno name\r\n--B--\r\n"])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="no form"):
        read(body)


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(Problem, match="Too many files"):
        read(FORM, files=1)
