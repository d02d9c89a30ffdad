"""What came out of a model for a request of the protocol: each output of all its pictures as one array."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.features.errors import BadTensor
from server.features.schemas import FeatureReply


@dataclass(frozen=True, slots=True)
class Inferred:
    """The outputs of one request, by name, and what is said of them."""

    model: str
    """As the request named it."""
    version: int
    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]
    """Parameters of the answer."""
    overflow: Mapping[str, int] = field(default_factory=dict)
    """By output, values that float16 could not hold."""
    int8: bool = False
    """Tensors leave as bytes, each with one scale for all its pictures."""


def overflow(reply: FeatureReply) -> dict[str, int]:
    """Values that became infinite in float16, by output; those of which none did are not named."""
    found: Counter[str] = Counter()
    for tensor in reply.tensors:
        found[tensor.level] += tensor.cast.overflow
    return dict(+found)


def stack(reply: FeatureReply) -> dict[str, NDArray[Any]]:
    """Each output of all pictures as one array; raises `BadTensor` for pictures that cannot be in one."""
    for image in reply.images:
        if image.error is not None:
            raise BadTensor(f"picture {image.index}: {image.error}")
    stacked = {}
    for name in dict.fromkeys(tensor.level for tensor in reply.tensors):
        arrays = [tensor.array for tensor in reply.tensors if tensor.level == name]
        if len({array.shape for array in arrays}) > 1:
            sizes = ", ".join(str(list(array.shape[2:])) for array in arrays[:5])
            raise BadTensor(
                f"the pictures give {name} of different sizes ({sizes}, ...): send them one by one, bring them to one "
                'size with the parameter resize, such as {"height": 480, "width": 640}, or ask for pooled alone'
            )
        stacked[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return stacked
