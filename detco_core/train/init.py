"""Where a run's weights come from at step 0, when they are not random: another run, or a weights file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError, Fault, InvalidDocument
from detco_core.contract.events import Warned
from detco_core.contract.jobs import Init, PretrainJob
from detco_core.contract.weights import KeyReport
from detco_core.method.detco import DetCo
from detco_core.runtime import checkpoint

NAMED_KEYS = 100
"""Keys of a kind named in the event."""
_QUERY = "query."
_BACKBONE = "backbone."


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The tensors of a file by the query encoder's names, and what did not fit."""

    tensors: dict[str, Tensor]
    format: str
    keys: KeyReport


def require_init(job: PretrainJob) -> None:
    """Check that a run whose config asks for a warm start has one.

    Raises:
        InvalidDocument: `train.warm_start` is set and the job neither resumes nor names an `init`.
    """
    if job.config.train.warm_start and job.init is None and job.resume is None:
        message = (
            "this run must not start from random weights: name a weights file, a model or another run's checkpoint in "
            "the job's init, or set train.warm_start to false"
        )
        raise InvalidDocument("run config", (Fault("train.warm_start", message),))


def start_from(init: Init, method: DetCo, config: RunConfig) -> tuple[dict[str, Any], Warned]:
    """Load the query encoder, and copy it to the key encoder; queues stay random and nothing else is taken over.

    Returns what the run's record says of it, and the report of the keys.

    Raises:
        CheckpointError: the file is missing, damaged or another; or keys of the backbone are missing and the job is
            strict.
    """
    path = Path(init.path)
    found = _from_run(path, init, method) if init.kind == "checkpoint" else _from_weights(path, init, method, config)
    missing = [key for key in found.keys.missing if key.startswith(_BACKBONE)]
    if not any(key.startswith(_BACKBONE) for key in found.tensors) or (missing and init.strict):
        raise CheckpointError(
            f"cannot start from {_name(init)}: {len(missing)} keys of the backbone {config.method.backbone} are "
            f"missing or of another shape: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}; name a file "
            "of this backbone, or set strict to false in init to start with what fits"
        )
    method.query.load_state_dict(found.tensors, strict=False)
    method.key.load_state_dict(method.query.state_dict())
    return _record(init, found), _report(init, found)


def _from_run(path: Path, init: Init, method: DetCo) -> Found:
    """The query encoder of another run's checkpoint, heads included where they fit."""
    state = checkpoint.load(path, init.sha256, mmap=True).state["method"]
    theirs = {name.removeprefix(_QUERY): value for name, value in state.items() if name.startswith(_QUERY)}
    ours = method.query.state_dict()
    fit = {name: value for name, value in theirs.items() if name in ours and value.shape == ours[name].shape}
    keys = KeyReport(
        matched=tuple(fit),
        missing=tuple(name for name in ours if name not in fit),
        unexpected=tuple(name for name in theirs if name not in fit),
    )
    return Found(tensors=fit, format="checkpoint", keys=keys)


def _from_weights(path: Path, init: Init, method: DetCo, config: RunConfig) -> Found:
    """The backbone of a foreign or imported weights file; heads start random."""
    from detco_core.nets.foreign import read_foreign

    tensors, layout, keys = read_foreign(
        path, config.method.backbone, init.format, init.sha256, in_channels=config.views.channels
    )
    heads = tuple(name for name in method.query.state_dict() if not name.startswith(_BACKBONE))
    ours = KeyReport(
        matched=tuple(_BACKBONE + key for key in keys.matched),
        missing=(*(_BACKBONE + key for key in keys.missing), *heads),
        unexpected=keys.unexpected,
    )
    return Found(tensors={_BACKBONE + key: value for key, value in tensors.items()}, format=layout, keys=ours)


def _record(init: Init, found: Found) -> dict[str, Any]:
    return {
        "kind": init.kind,
        "source": _name(init),
        "sha256": init.sha256,
        "format": found.format,
        "strict": init.strict,
        "matched": len(found.keys.matched),
        "missing": len(found.keys.missing),
        "unexpected": len(found.keys.unexpected),
    }


def _name(init: Init) -> str:
    return init.source or init.path


def _report(init: Init, found: Found) -> Warned:
    keys = found.keys
    message = (
        f"started from {_name(init)} ({found.format}): {len(keys.matched)} keys taken over, {len(keys.missing)} start "
        f"random, {len(keys.unexpected)} of the file are not used"
    )
    details = {
        "matched": len(keys.matched),
        "missing": list(keys.missing[:NAMED_KEYS]),
        "missing_count": len(keys.missing),
        "unexpected": list(keys.unexpected[:NAMED_KEYS]),
        "unexpected_count": len(keys.unexpected),
    }
    return Warned(code="init_keys", message=message, details=details)
