"""How a request names a model: `name@alias`, `name:version`, or `name` for its alias `production`."""

from collections.abc import Iterable
from dataclasses import dataclass

from server.features.errors import NoDefaultModel, UnknownModel
from server.features.models.catalog import VersionRef

DEFAULT_ALIAS = "production"
_LONGEST = 300
"""Characters of the name, the mark and the alias."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Either an alias or a version number of one model."""

    model: str
    alias: str | None = None
    number: int | None = None

    @property
    def key(self) -> str:
        """`name@alias` of an alias."""
        return f"{self.model}@{self.alias}"

    def names(self, version: VersionRef) -> bool:
        """Whether this is the version's number."""
        return (self.model, self.number) == (version.model, version.number)

    def __str__(self) -> str:
        return self.key if self.alias else f"{self.model}:{self.number}"


def read_selector(text: str) -> Selector:
    """Raises `UnknownModel` when the text names nothing that could exist."""
    if len(text) > _LONGEST:
        raise UnknownModel(f"{text[:80]!r}... is longer than any name")
    name, at, alias = text.partition("@")
    if at and not alias:
        raise UnknownModel(f"{text[:80]!r} names no alias: {name[:80]}@{DEFAULT_ALIAS}, for example")
    if at:
        return Selector(name, alias=alias)
    name, colon, number = text.partition(":")
    if not colon:
        return Selector(name, alias=DEFAULT_ALIAS)
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UnknownModel(f"{text[:80]!r} names no version: a version is a number, as in name:3; an alias name@alias")
    return Selector(name, number=int(number))


def default_selector(configured: str | None, aliases: Iterable[str]) -> Selector:
    """The model of a request that names none: the configured one, else the only one with a `production` alias.

    Raises:
        NoDefaultModel: listing the names there are.
    """
    if configured is not None:
        return read_selector(configured)
    names = sorted(alias.partition("@")[0] for alias in aliases if alias.endswith(f"@{DEFAULT_ALIAS}"))
    if len(names) != 1:
        raise NoDefaultModel(names)
    return Selector(names[0], alias=DEFAULT_ALIAS)
