"""An answer laid out: pieces that are sent one after another, never joined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

_SMALL = 2**12
"""Bytes up to which a piece is not worth being sent by itself."""
_TOGETHER = 64
"""Small pieces that are sent as one."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body in pieces, to be sent one after the other."""

    media_type: str
    pieces: Sequence[bytes | memoryview]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return sum(len(piece) for piece in self.pieces)

    def slices(self, most: int) -> Iterator[bytes | memoryview]:
        """The whole body in slices of at most `most` bytes: views, and small pieces joined."""
        small: list[bytes | memoryview] = []
        for piece in self.pieces:
            if len(piece) < _SMALL:
                small.append(piece)
                if len(small) < _TOGETHER:
                    continue
            if small:
                yield b"".join(small)
                small = []
            if len(piece) >= _SMALL:
                yield from (memoryview(piece)[start : start + most] for start in range(0, len(piece), most))
        if small:
            yield b"".join(small)

    def rest(self, start: int) -> "Encoded":
        """What follows the first `start` bytes, copied where a piece keeps alive more than twice what it is: one image
        of a batch would keep the whole batch.
        """
        pieces = []
        for piece in self.pieces:
            skipped, start = min(start, len(piece)), max(0, start - len(piece))
            pieces.append(bytes(piece[skipped:]) if _kept_by(piece) > 2 * len(piece) else memoryview(piece)[skipped:])
        return replace(self, pieces=pieces)


def _kept_by(piece: bytes | memoryview) -> int:
    """Bytes of the memory that a piece is a part of."""
    whole: Any = piece
    size = len(piece)
    while whole is not None:
        size = max(size, getattr(whole, "nbytes", 0))
        whole = getattr(whole, "base", None) if isinstance(whole, np.ndarray) else getattr(whole, "obj", None)
    return size
