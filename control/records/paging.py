"""Pages of a list, newest first, by an opaque token: never an offset, which shifts under inserts."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Integer, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control.errors import InvalidRequest

T = TypeVar("T")

MAX_PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """What part of a list is wanted; `token` is a `next_page_token`."""

    size: int = 50
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list; no token means that it was the last."""

    items: list[T]
    next_page_token: str | None = None


def paginate(
    session: Session,
    query: Select[T],
    column: InstrumentedAttribute[Any],
    page: Page,
) -> Listing[T]:
    """One page of `query`, newest first by `column`, which must be unique and not null.

    Raises:
        InvalidRequest: when the token or the size is not one of ours.
    """
    if not 1 <= page.size <= MAX_PAGE_SIZE:
        raise InvalidRequest("page_size", f"must be between 1 and {MAX_PAGE_SIZE}")
    if page.token is not None:
        query = query.where(column < _read(page.token, column))
    query = query.order_by(column.desc()).limit(page.size + 1)
    rows = list(session.scalars(query))
    more = len(rows) > page.size
    items = rows[: page.size]
    return Listing(items, _write(column, getattr(items[-1], column.key)) if more else None)


def _write(column: InstrumentedAttribute[Any], last: object) -> str:
    return base64.urlsafe_b64encode(f"{column}/{last}".encode()).decode().rstrip("=")


def _read(token: str, column: InstrumentedAttribute[Any]) -> int | str:
    """Where the page before ended; a token of another list is refused as well."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        name, _, last = text.partition("/")
        if name != str(column) or not last.isprintable():
            raise ValueError
        return _counter(last) if isinstance(column.type, Integer) else last
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("page_token", "is not a token this service gave out for this list") from error


def _counter(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError
    return number
