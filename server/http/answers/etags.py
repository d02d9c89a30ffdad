"""ETags of rows and the conditions that go with them (RFC 9110, section 13); those of answers: `conditional`."""

import re
from typing import Annotated

from fastapi import Header

from server.http.problems import Problem

_TAG = re.compile(r'(?:W/)?"(\d{1,18})(?:-[0-9a-f]+)?"|(\d{1,18})')

IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=100)]
"""Change it only if it is still what the ETag names."""


def etag(version: int) -> str:
    """The ETag of a row's version."""
    return f'"{version}"'


def expected_version(header: str | None) -> int | None:
    """The row version an If-Match header asks for; None when it asks for none, or for any (`*`).

    Raises:
        Problem: 400 when it is not an ETag of ours.
    """
    if header is None or header.strip() == "*":
        return None
    found = _TAG.fullmatch(header.strip())
    if found is None:
        raise Problem("bad_request", f"If-Match: {header[:80]!r} is not an ETag this service gave out")
    return int(found[1] or found[2])
