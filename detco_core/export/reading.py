"""An exported file read back, and what reading it proves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from detco_core.contract.errors import ExportError, WeightsError
from detco_core.contract.weights import WeightsFormat
from detco_core.export.levels import Levels, torch_levels
from detco_core.export.tables import Table
from detco_core.nets.foreign import backbone_from_weights
from detco_core.nets.foreign.files import open_file
from detco_core.nets.stages import StageBackbone

TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The outputs a file gives, and who computes them."""

    levels: Levels
    library: str
    """With its version; `TABLE of ...` when its own code is not here."""
    tolerance: float = TOLERANCE
    keys: int | None = None
    """Names and shapes found as the library's table has them; None when the library itself ran the file."""


def read_by_table(backbone: StageBackbone, path: Path, form: WeightsFormat, library: str, table: Table) -> Reading:
    """A file whose library is not here: held against its table, then read as an import reads it and run by torch.

    Raises:
        ExportError: naming the keys that the table does not have, that are missing, or of another shape; or why the
            file cannot be read.
    """
    try:
        tensors = open_file(path).tensors
        check_keys(path.name, library, tensors, table)
        again = backbone_from_weights(path, backbone.architecture, form, in_channels=backbone.in_channels)
    except WeightsError as error:
        raise ExportError(f"{path.name} does not read back: {error}") from error
    # The same network on the same machine: not one bit may differ.
    return Reading(levels=torch_levels(again), library=library, tolerance=0.0, keys=len(table))


def check_keys(file: str, library: str, tensors: Mapping[str, Tensor], table: Table) -> None:
    """Raise `ExportError` unless names and shapes are those of the table."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in shapes.keys() | table.keys() if shapes.get(name) != table.get(name))
    if wrong:
        name = wrong[0]
        raise ExportError(
            f"{file}: {len(wrong)} keys are not as in the {library}; {name} is {shapes.get(name, 'missing')}, "
            f"should be {table.get(name, 'absent')}"
        )


def load_into(network: torch.nn.Module, path: Path, library: str, *, whole: bool = True) -> torch.nn.Module:
    """`network`, in eval mode, with the plain tensor dict of the file in it.

    Args:
        network: as the library makes it.
        path: the file.
        library: for the message.
        whole: refuse a file that does not fill the network. A network with parts behind the last level needs none of
            them; that all others are filled shows in the features.

    Raises:
        ExportError: naming the keys that are missing, unknown or of another shape.
    """
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        found = network.load_state_dict(tensors, strict=whole)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{path.name} does not load into {library}: {reason}") from error
    if found.unexpected_keys:
        raise ExportError(f"{path.name} does not load into {library}: unknown are {found.unexpected_keys[:3]}")
    return network.eval()
