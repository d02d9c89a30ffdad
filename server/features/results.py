"""Results remembered: the features of an image that was asked for before, in the same way, of the same model.

Off unless given room. Who may use a model is decided before anything is looked up here, for every request anew.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakKeyDictionary

import numpy as np

from server.features.models.loaded import Loaded
from server.features.options import FeatureOptions
from server.features.schemas import FeatureRequest, ImageFacts, Tensor

_OVERHEAD = 4096
"""Bytes an entry is counted with beside its arrays: key, facts, objects."""
_LARGEST_SHARE = 4
"""One result may take a quarter of the room at most: a single pyramid shall not push out all else."""


@dataclass(frozen=True, slots=True)
class Result:
    """One image's answer."""

    facts: ImageFacts
    tensors: tuple[Tensor, ...]

    def at(self, index: int) -> tuple[Tensor, ...]:
        """The tensors as those of the request's image `index`."""
        return tuple(replace(tensor, image=index) for tensor in self.tensors)


class Results:
    """The latest used, up to so many bytes; safe to use from any thread."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[Hashable, tuple[Result, int]] = OrderedDict()
        self._serials: WeakKeyDictionary[Loaded, int] = WeakKeyDictionary()
        self._next = count()
        self._lock = threading.Lock()
        self.bytes = 0
        """Held now."""

    def key_of(self, loaded: Loaded, request: FeatureRequest, index: int) -> Hashable:
        """All that the answer for one image depends on; reads the image through."""
        with self._lock:
            serial = self._serials.setdefault(loaded, next(self._next))
        options = request.options
        boxes = None if options.boxes is None else options.boxes[index]
        # A parameter that comes to be tomorrow counts from its first day: only what changes no number is taken out.
        usual = FeatureOptions()
        same = replace(
            options,
            model=None,
            expect_digest=None,
            boxes=None if boxes is None else (boxes,),
            timeout_ms=usual.timeout_ms,
            priority=usual.priority,
        )
        # The serial stands for one opening of a version: its provider and preprocessing, not only its weights.
        return serial, loaded.version.digest, request.selection, same, _content(request.images[index].data)

    def get(self, key: Hashable) -> Result | None:
        """What is known."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            self._known.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, facts: ImageFacts, tensors: tuple[Tensor, ...]) -> None:
        """Remember a copy: the arrays may lie in memory that is lent, or be a part of a batch's."""
        size = _OVERHEAD + sum(tensor.array.nbytes for tensor in tensors)
        if size * _LARGEST_SHARE > self._capacity:
            return
        result = Result(facts, tuple(replace(tensor, array=_frozen(tensor)) for tensor in tensors))
        with self._lock:
            self._drop(key)
            self._known[key] = result, size
            self.bytes += size
            while self.bytes > self._capacity:
                self._drop(next(iter(self._known)))

    def _drop(self, key: Hashable) -> None:
        found = self._known.pop(key, None)
        if found is not None:
            self.bytes -= found[1]


def _content(data: object) -> Hashable:
    if isinstance(data, np.ndarray):
        return data.dtype.str, data.shape, hashlib.sha256(np.ascontiguousarray(data).data).digest()
    assert isinstance(data, bytes)  # noqa: S101 - an image is one or the other
    return hashlib.sha256(data).digest()


def _frozen(tensor: Tensor) -> np.ndarray:
    array = np.array(tensor.array, order="C", copy=True)
    array.flags.writeable = False
    return array
