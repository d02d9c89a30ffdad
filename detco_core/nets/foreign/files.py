"""Opens weights files of every kind as a flat dict of tensors, and never runs code of theirs."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from detco_core.contract.errors import WeightsError
from detco_core.nets.foreign.pickles import UnsafePickle, load_arrays
from detco_core.runtime.checkpoint import file_digest

Kind = Literal["torch", "pickle", "safetensors"]

MAX_PICKLE_BYTES = 4 << 30
"""A pickle is read into memory at once, a torch file is not."""

_ZIP = b"PK\x03\x04"
# How torch.save before 1.6 begins: a pickle of its magic number.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
TEACHER = "teacher"
"""Where DINO and what grew out of it keep the network that they are judged by, beside the student."""
_WRAPPERS = ("state_dict", "model", TEACHER)
_REMEDY = "open it where you trust it, and save its state dict alone"


@dataclass(frozen=True, slots=True)
class Opened:
    """The tensors of a file, by its own keys."""

    tensors: dict[str, Tensor]
    kind: Kind
    wrapper: str | None = None
    """The key of the file under which they lay."""


def open_file(path: Path, sha256: str | None = None) -> Opened:
    """Open a torch file, a pickle of NumPy arrays or a safetensors file, told apart by their first bytes.

    Raises:
        WeightsError: naming the file: missing, another than `sha256` says, damaged, or more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}")
    if not path.stat().st_size:
        raise WeightsError(f"weights file {path} is empty")
    if sha256 is not None and (found := file_digest(path)) != sha256:
        raise WeightsError(f"weights file {path} is damaged or another: digest {found}, expected {sha256}")
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_ZIP) or head.startswith(_LEGACY):
        return _unwrapped(_read_torch(path, zipped=head.startswith(_ZIP)), path, "torch")
    if head[8:9] == b"{":
        return Opened(_read_safetensors(path), "safetensors")
    return _unwrapped(_read_pickle(path), path, "pickle")


def _unwrapped(content: object, path: Path, kind: Kind) -> Opened:
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a dict of tensors; {_REMEDY}")
    if {"format", "info", "state"} <= content.keys() and isinstance(content["state"], dict):
        return Opened(_tensors(content["state"].get("method")), kind, "state")
    for wrapper in _WRAPPERS:
        if found := _tensors(content.get(wrapper)):
            return Opened(found, kind, wrapper)
    if found := _tensors(content):
        return Opened(found, kind)
    keys = ", ".join(str(key)[:60] for key in list(content)[:5])
    raise WeightsError(
        f"{path} holds no tensors under {', '.join(_WRAPPERS)} or by themselves, but: {keys or 'nothing'}"
    )


def _tensors(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_quantized:
        return False
    return value.layout is torch.strided and value.device.type == "cpu"


def _read_torch(path: Path, *, zipped: bool) -> object:
    if zipped:
        _check_stored(path)
    try:
        # Nothing but tensors and plain values; mapped, since of a checkpoint only a part is taken.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if not zipped:
            raise WeightsError(
                f"{path} is damaged, or holds more than tensors in torch's old format: {_REMEDY}"
            ) from error
        return _read_around(path, error)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise WeightsError(f"weights file {path} is damaged, or no torch file: {_line(error)}") from error


def _check_stored(path: Path) -> None:
    """Refuse compressed parts, which torch never writes: a small file of them could fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise WeightsError(f"weights file {path} is damaged, or no torch file: {_line(error)}") from error
    if any("/code/" in part.filename for part in parts):
        raise WeightsError(f"{path} is a TorchScript program, which is code; {_REMEDY}")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise WeightsError(f"{path} is a compressed archive and no torch file: unpack it first")


class _Inert:
    """Stands for every class and function a file names that is not a tensor's: takes anything, does nothing."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _read_around(path: Path, first: Exception) -> object:
    """Read a file that holds objects of other programs beside its tensors, with `_Inert` in place of each of them."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(type(name, (_Inert,), {}), name) for name in names]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as plain tensors ({_line(first)}); {_REMEDY}") from error


def _read_pickle(path: Path) -> object:
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise WeightsError(f"{path} is larger than the {MAX_PICKLE_BYTES >> 30} GiB a pickle of weights may have")
    try:
        content = load_arrays(path.read_bytes())
    except UnsafePickle as error:
        raise WeightsError(f"{path} cannot be read as plain arrays: {error}; {_REMEDY}") from error
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise WeightsError(f"{path} is a safetensors file: install safetensors, e.g. as detco[timm]") from error
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"weights file {path} is damaged, or no safetensors file: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
