"""Reads `multipart/form-data`, whole or not at all."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from server.http.problems import Problem


class _Parser(MultiPartParser):
    """Refuses a form without the boundary that ends it: cut off, it would pass for a shorter one."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    async def to_its_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        # Raised from here, it has the parser close the files it has begun.
        async for chunk in stream:
            yield chunk
        if not self.ended:
            raise MultiPartException("it is cut off before the boundary that ends it; send it again")


@asynccontextmanager
async def read_form(request: Request, *, files: int, fields: int, field_bytes: int) -> AsyncIterator[FormData]:
    """A form of at most so many parts with and without a file name; its files are closed behind the block.

    Raises:
        Problem: 400 when it is none, has too many parts, or is cut off.
    """
    stream = request.stream()
    parser = _Parser(request.headers, stream, max_files=files, max_fields=fields, max_part_size=field_bytes)
    parser.stream = parser.to_its_end(stream)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem("bad_request", f"the body is no form: {error.message}") from error
    try:
        yield form
    finally:
        await form.close()
