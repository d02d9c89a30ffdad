"""Checkpoint files: one file a step that holds everything a run needs to continue bit for bit.

A file is written under a temporary name, flushed to disk, then renamed: a checkpoint that exists is complete. It holds
tensors and plain values only and is loaded as such (`weights_only`), never as pickled code.
"""

import contextlib
import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from detco_core.contract.config import RunConfig, read_config
from detco_core.contract.errors import CheckpointError, CheckpointNotSaved, InvalidDocument
from detco_core.contract.reader import canonical_json

FORMAT = 1
"""Raised when a file of an earlier layout can no longer be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """What a checkpoint says about itself."""

    step: int
    """Optimizer steps done."""
    epoch: float
    """Passes over the data set done."""
    steps: int
    """Optimizer steps of the whole run: the learning rate's schedule ends there."""
    steps_per_epoch: int
    config: RunConfig
    dataset: str
    """Name of the data set, `photos@1`."""
    dataset_digest: str | None
    world_size: int
    """Processes that trained it."""
    software: dict[str, str]
    """Versions of what wrote it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A loaded checkpoint: `state["method"]` holds both encoders, heads and queues; the rest is the trainer's."""

    info: CheckpointInfo
    state: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFile:
    """A file that is complete and on disk."""

    path: Path
    bytes: int
    sha256: str
    """`sha256:` and the hex digest."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where a job in `folder` keeps the checkpoint of `step`."""
    return folder / "checkpoints" / f"step-{step:08d}.pt"


def save(path: Path, info: CheckpointInfo, state: Mapping[str, Any]) -> SavedFile:
    """Write a checkpoint atomically.

    Raises:
        CheckpointNotSaved: it could not be written, e.g. the disk is full; earlier checkpoints are untouched.
    """
    return write_tensors(path, {"format": FORMAT, "info": _plain_info(info), "state": dict(state)})


def write_tensors(path: Path, content: Mapping[str, Any]) -> SavedFile:
    """Write tensors and plain values atomically; raises as `save` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, dict(content))
        saved = SavedFile(path=path, bytes=temporary.stat().st_size, sha256=file_digest(temporary))
        temporary.rename(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CheckpointNotSaved(
            f"cannot write {path}: {_reason(error)}; free disk space or mend the folder; "
            "earlier checkpoints are unharmed and the run can continue from the last of them"
        ) from error
    return saved


def load(path: Path, sha256: str | None = None, *, mmap: bool = False) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Args:
        path: the file.
        sha256: `sha256:...` the file must have, when known.
        mmap: map the file instead of reading it, for callers that take a small part of it.

    Raises:
        CheckpointError: naming the file: missing, damaged, of another digest or another format.
    """
    return _checked(path, read_tensors(path, sha256, mmap=mmap))


def read_tensors(path: Path, sha256: str | None = None, *, mmap: bool = False) -> Any:
    """Read what `write_tensors` wrote onto the CPU; arguments and errors as of `load`."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if sha256 is not None and (found := file_digest(path)) != sha256:
        raise CheckpointError(f"checkpoint {path} is damaged or another file: digest {found}, expected {sha256}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged, or is no checkpoint: {error}") from error


def prune(folder: Path, keep: int | None) -> None:
    """Delete all but the newest `keep` checkpoints in `folder`; None deletes none."""
    if keep is not None:
        for path in sorted(folder.glob("step-*.pt"))[:-keep]:
            path.unlink()


def whole(path: Path) -> SavedFile:
    """A file that another program finished, with its digest."""
    return SavedFile(path=path, bytes=path.stat().st_size, sha256=file_digest(path))


def file_digest(path: Path) -> str:
    """`sha256:` and the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: dict[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    """What the system said: torch buries the error of the file it writes to under one of its own."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    return str(found or error)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain_info(info: CheckpointInfo) -> dict[str, Any]:
    return {
        "step": info.step,
        "epoch": info.epoch,
        "steps": info.steps,
        "steps_per_epoch": info.steps_per_epoch,
        "config": canonical_json(info.config),
        "dataset": info.dataset,
        "dataset_digest": info.dataset_digest,
        "world_size": info.world_size,
        "software": dict(info.software),
    }


def _checked(path: Path, content: object) -> Checkpoint:
    if not isinstance(content, dict) or not {"format", "info", "state"} <= content.keys():
        raise CheckpointError(f"{path} is not a checkpoint of this program; import foreign weights instead")
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {content['format']}, this version reads {FORMAT}: use the version of detco "
            "that wrote it"
        )
    try:
        info = dict(content["info"])
        info["config"] = read_config(json.loads(info["config"]))
        return Checkpoint(info=CheckpointInfo(**info), state=content["state"])
    except (InvalidDocument, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint {path} does not describe its run: {error}") from error
