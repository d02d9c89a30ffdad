"""Pages of a list by an opaque token: never an offset, which shifts under inserts."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Integer, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control.errors import InvalidRequest

T = TypeVar("T")

MAX_PAGE_SIZE = 500
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NOT_OURS = "is not a token this service gave out for this list"


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
    *,
    ascending: bool = False,
) -> Listing[T]:
    """One page of `query` by `column`, which must be unique and not null: the greatest (newest) first, or the least.

    Raises:
        InvalidRequest: when the token or the size is not one of ours.
    """
    check_size(page)
    if page.token is not None:
        last = _read(page.token, column)
        query = query.where(column > last if ascending else column < last)
    query = query.order_by(column.asc() if ascending else column.desc()).limit(page.size + 1)
    rows = list(session.scalars(query))
    more = len(rows) > page.size
    items = rows[: page.size]
    return Listing(items, token_of(str(column), getattr(items[-1], column.key)) if more else None)


def check_size(page: Page) -> None:
    """Raise `InvalidRequest` for a page of no size of ours."""
    if not 1 <= page.size <= MAX_PAGE_SIZE:
        raise InvalidRequest("page_size", f"must be between 1 and {MAX_PAGE_SIZE}")


def token_of(listing: str, last: object) -> str:
    """The token of the page behind `last` in the list of that name, which holds no `/`."""
    return base64.urlsafe_b64encode(f"{listing}/{last}".encode()).decode().rstrip("=")


def last_of(listing: str, token: str) -> str:
    """Where the page before ended; raises `InvalidRequest`, also for a token of another list."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("utf-8")
        name, _, last = text.partition("/")
        if name != listing or _CONTROL.search(last):
            raise ValueError
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("page_token", _NOT_OURS) from error
    return last


def _read(token: str, column: InstrumentedAttribute[Any]) -> int | str:
    last = last_of(str(column), token)
    return _counter(last) if isinstance(column.type, Integer) else last


def _counter(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63):
        raise InvalidRequest("page_token", _NOT_OURS)
    return int(text)
