"""Holds the tensors of a file against the network they are said to be."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from detco_core.contract.errors import WeightsError
from detco_core.contract.weights import KeyReport
from detco_core.nets.backbone import make_backbone
from detco_core.nets.foreign.layouts import Recognised
from detco_core.nets.resnet import resnets

SHOWN = 3
_COUNTER = ".num_batches_tracked"


def expected_tensors(architecture: str, in_channels: int = 3) -> dict[str, Tensor]:
    """The backbone's state by our names: shapes and dtypes without memory; draws no random numbers."""
    with torch.device("meta"):
        return make_backbone(architecture, in_channels).state_dict()


def fitted(
    file: str,
    architecture: str,
    expected: Mapping[str, Tensor],
    found: Recognised,
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], KeyReport]:
    """The file's tensors by our names, and the report.

    Raises:
        WeightsError: a shape differs, the file has parts of a larger network of the kind, it is another network that
            we know, or a value is not finite.
    """
    named = {name: tensors[key] for key, name in found.names.items()}
    report = _report(expected, found, tensors)
    faults = _faults(expected, named)
    looks = _looks_like(named) if faults or report.missing else None
    if not faults and looks is not None and looks != architecture:
        faults = [f"{name} is missing" for name in report.missing]
    if faults:
        shown = "; ".join(faults[:SHOWN]) + (f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        raise WeightsError(f"{file} does not hold {architecture}: {shown}; {_hint(expected, named, looks)}")
    return {name: _taken(file, name, named, expected[name]) for name in expected if _has(name, named)}, report


def require_complete(path: str, architecture: str, keys: KeyReport) -> None:
    """Raise `WeightsError` when keys of the backbone are missing from the file."""
    if keys.missing:
        first = ", ".join(keys.missing[:3]) + (", ..." if len(keys.missing) > 3 else "")
        raise WeightsError(
            f"{path} lacks {len(keys.missing)} keys of {architecture} ({first}): give the whole backbone, or set "
            "strict to false to go on without them"
        )


def _report(expected: Mapping[str, Tensor], found: Recognised, tensors: Mapping[str, Tensor]) -> KeyReport:
    names = set(found.names.values())
    return KeyReport(
        matched=tuple(name for name in expected if name in names),
        missing=tuple(name for name in expected if not _has(name, names)),
        unexpected=tuple(key for key in tensors if found.names.get(key) not in expected),
    )


def _has(name: str, names: Mapping[str, object] | set[str]) -> bool:
    return name in names or name.endswith(_COUNTER)


def _faults(expected: Mapping[str, Tensor], named: Mapping[str, Tensor]) -> list[str]:
    """What makes it another network: shapes that differ, and parts of the backbone that ours does not have."""
    shapes = [
        f"{name} is {list(named[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in named and named[name].shape != tensor.shape
    ]
    return shapes + [f"{name} is too much" for name in named if name not in expected]


def _hint(expected: Mapping[str, Tensor], named: Mapping[str, Tensor], looks: str | None) -> str:
    if looks:
        return f"it looks like {looks}"
    pairs = [(ours.shape, named[name].shape) for name, ours in expected.items() if name in named]
    unlike = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
    if len(unlike) == 1 and all(name in expected for name in named):
        (ours, theirs) = unlike[0]
        if len(ours) == len(theirs) == 4 and (*ours[:1], *ours[2:]) == (*theirs[:1], *theirs[2:]):
            return f"it takes images of other channels, and all else fits: give channels as {theirs[1]}"
    return "it looks like no network known here"


def _looks_like(named: Mapping[str, Tensor]) -> str | None:
    """The torchvision network whose parameters these are, by names and shapes."""
    shapes = _shapes(named)
    return next((name for name, theirs in _known_shapes().items() if theirs == shapes), None)


@cache
def _known_shapes() -> dict[str, dict[str, torch.Size]]:
    return {architecture: _shapes(expected_tensors(architecture)) for architecture in resnets()}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items() if not name.endswith(_COUNTER)}


def _taken(file: str, name: str, named: Mapping[str, Tensor], expected: Tensor) -> Tensor:
    """A contiguous copy in the backbone's dtype."""
    if name not in named:
        return torch.zeros(expected.shape, dtype=expected.dtype)
    tensor = torch.empty(expected.shape, dtype=expected.dtype).copy_(named[name].detach())
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise WeightsError(f"{file}: {name} holds NaN or infinity: the training that gave it had diverged")
    return tensor
