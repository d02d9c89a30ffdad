"""A model as clients of the protocol name it: `NAME` takes encoded pictures, `NAME_tensor` pixels."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from server.features.errors import UnknownModel

TENSOR_SUFFIX = "_tensor"
IMAGE, PIXELS = "image", "pixels"
"""The inputs."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model as clients of the protocol name it."""

    name: str
    model: str
    """As the records name it."""
    takes: Literal["image", "pixels"]
    number: int | None = None
    """None: what the alias `production` names."""

    @property
    def selector(self) -> str:
        return self.model if self.number is None else f"{self.model}:{self.number}"


def read_target(name: str, version: str | None, served: Collection[str]) -> Target:
    """What a path names; `served`: models by their names in the records. Raises `UnknownModel` for no version."""
    if version is not None and not (version.isascii() and version.isdigit() and 0 < len(version) < 10):
        raise UnknownModel(f"{name[:100]} has no version {version[:40]!r}: a version is a number")
    number = None if version is None else int(version)
    if name not in served and name.endswith(TENSOR_SUFFIX):
        return Target(name, name.removesuffix(TENSOR_SUFFIX), "pixels", number)
    return Target(name, name, "image", number)
