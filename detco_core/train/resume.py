"""Refuses to continue a run as something else: a checkpoint must be of this config, these data, this many processes."""

from collections.abc import Iterator, Mapping
from typing import Any

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import plain
from detco_core.runtime.checkpoint import CheckpointInfo

FREE_KEYS = ("preset", "data.workers", "train.log_every", "train.checkpoint_every", "monitor.", "alarms.", "track.")
"""Config keys (or beginnings of keys) that may change on resume, since no number of the run depends on them."""


def check_resumable(info: CheckpointInfo, job: PretrainJob, steps_per_epoch: int, world_size: int) -> None:
    """Check that continuing from the checkpoint is continuing the same run.

    Raises:
        CheckpointError: naming every config key that differs, or the other data, or the other number of processes.
    """
    changed = list(differences(info.config, job.config))
    if changed:
        raise CheckpointError(
            f"cannot resume {job.resume}: the config differs from the checkpoint's in {'; '.join(changed)}; "
            "resume with the checkpoint's config, or start a new run"
        )
    if info.dataset_digest != job.dataset.digest or info.steps_per_epoch != steps_per_epoch:
        raise CheckpointError(
            f"cannot resume {job.resume}: it was trained on {info.dataset} (digest {info.dataset_digest}, "
            f"{info.steps_per_epoch} steps an epoch), this job has {job.dataset.name} (digest {job.dataset.digest}, "
            f"{steps_per_epoch} steps an epoch); resume on the same data set version"
        )
    if info.world_size != world_size and not job.allow_world_size_change:
        raise CheckpointError(
            f"cannot resume {job.resume}: it was trained by {info.world_size} processes, this job has {world_size}; "
            "batch norm groups would change: set allow_world_size_change to consent"
        )


def differences(saved: RunConfig, asked: RunConfig) -> Iterator[str]:
    """`key: saved -> asked` of each key that differs and may not."""
    before, after = dict(_leaves(plain(saved))), dict(_leaves(plain(asked)))
    for key in before:
        if before[key] != after[key] and not key.startswith(FREE_KEYS):
            yield f"{key}: {before[key]} -> {after[key]}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
