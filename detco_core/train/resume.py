"""Refuses to continue a run as something else: a checkpoint must be of this config, these data, this many processes."""

from detco_core.contract.continuing import LENGTH_KEYS, differences
from detco_core.contract.errors import CheckpointError
from detco_core.contract.events import Warned
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.checkpoint import CheckpointInfo
from detco_core.runtime.schedule import learning_rate


def check_resumable(info: CheckpointInfo, job: PretrainJob, steps_per_epoch: int, world_size: int) -> None:
    """Check that continuing from the checkpoint is continuing the same run.

    Raises:
        CheckpointError: naming every config key that differs, or the other data, or the other number of processes.
    """
    changed = list(differences(info.config, job.config, extend=job.extend))
    if changed:
        longer = all(change.key in LENGTH_KEYS for change in changed)
        consent = "set extend in the job to lay the schedule over the new length, " if longer else ""
        raise CheckpointError(
            f"cannot resume {job.resume}: the config differs from the checkpoint's in {'; '.join(map(str, changed))}; "
            f"{consent}resume with the checkpoint's config, or start a new run"
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


def extension(info: CheckpointInfo, job: PretrainJob, steps: int) -> Warned | None:
    """What a person must know when the run is now `steps` long instead of what it was; None when it is as long.

    Raises:
        CheckpointError: it has made more steps than that already.
    """
    if steps == info.steps:
        return None
    if steps < info.step:
        raise CheckpointError(
            f"cannot resume {job.resume}: it has made {info.step} steps, more than the {steps} asked for; raise "
            "train.steps or train.epochs, or resume from an earlier checkpoint"
        )
    before, after = (learning_rate(job.config.optim, info.step, length) for length in (info.steps, steps))
    message = (
        f"the run is now {steps} steps long instead of {info.steps}, and its schedule is laid over the new length: the "
        f"learning rate goes on from step {info.step} at {after:.4g} instead of {before:.4g}"
    )
    details = {
        "step": info.step,
        "steps_before": info.steps,
        "steps": steps,
        "lr_before": before,
        "lr": after,
    }
    return Warned(code="schedule_extended", message=message, details=details)
