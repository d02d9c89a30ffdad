"""What all bodies and views share: strict input, named objects, pages."""

import math
import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

T = TypeVar("T")

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, and halves of surrogate pairs."""
_DEEPEST = 16

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Of a data set, a model, an alias, a consumer: goes into paths and references, so no `/`, `@` or `:`."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line, as people write it."""
Labels = Annotated[dict[Annotated[str, StringConstraints(min_length=1, max_length=64)], Text], Field(max_length=64)]


def _storable(value: Any) -> Any:
    """Refuse what JSON text of the databases cannot hold, though Python's parser lets it in, and endless nesting."""
    left = [(value, 0)]
    while left:
        item, depth = left.pop()
        if depth > _DEEPEST:
            raise ValueError(f"is nested more than {_DEEPEST} levels deep")
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("NaN and Infinity are not JSON")
        if isinstance(item, str) and _UNSTORABLE.search(item):
            raise ValueError("a text holds a NUL or half a surrogate pair")
        if isinstance(item, dict | list):
            inside = [*item, *item.values()] if isinstance(item, dict) else item
            left += [(part, depth + 1) for part in inside]
    return value


Options = Annotated[dict[str, Any], Field(max_length=200), AfterValidator(_storable)]
"""Keys and values that another schema reads further."""

Grid = Annotated[
    dict[Annotated[str, StringConstraints(min_length=1, max_length=100)], Annotated[list[Any], Field(max_length=1000)]],
    Field(max_length=50),
    AfterValidator(_storable),
]
"""Keys and the values each takes, which another schema reads further."""


class Body(BaseModel):
    """A body that comes in: a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A view that goes out."""

    model_config = ConfigDict(frozen=True)


class Resource(View):
    """What every object has."""

    id: str
    created_at: datetime
    created_by: str


class Page(View, Generic[T]):
    """A piece of a list; `next_page_token` asks for the next one, null at the end."""

    items: list[T]
    next_page_token: str | None = None


class ProblemError(View):
    """One thing wrong with a request."""

    path: str
    """Dotted."""
    pointer: str
    """JSON pointer into the body (RFC 6901)."""
    detail: str


class ProblemView(View):
    """A problem document (RFC 9457); every answer of 400 and above is one."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str
    code: str
    """A stable word for machines."""
    errors: list[ProblemError]
    request_id: str


Json = dict[str, Any]
