"""Where a backbone comes from: what a person names, resolved to ids at the time of the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from control.db.models import ModelVersion
from control.errors import InvalidRequest, NotReady
from control.records.journal.history import usable_checkpoint
from control.records.models.aliases import resolve_ready
from control.records.models.registry import hold_version
from control.records.models.weights import RANDOM, usable_weights
from control.records.runs.runs import get_run

DEFAULT_RANDOM_BACKBONE = "resnet18"
TENSOR_FORMATS: tuple[Literal["torchvision", "timm"], ...] = ("torchvision", "timm")
"""Files of a bundle that hold the backbone's tensors by our own names; the first there is is the one to start from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A source, resolved."""

    spec: dict[str, Any]
    """`{run, checkpoint_id}`, `{model_version_id}`, `{weights_id}` or `{weights: "random", backbone, seed}`."""
    architecture: str | None
    """Of the backbone, where it is known."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended before it can be used."""


def resolve_source(session: Session, source: Mapping[str, Any], seed: int = 0) -> Origin:
    """The source of an evaluation: `{run, checkpoint?}` (default `last`), `{model}`, `{weights: ID}`, or
    `{weights: "random", backbone?, seed?}`.

    Raises:
        InvalidRequest: none of these.
        NotFound, NotReady: what it names does not exist, or not yet.
    """
    if source.get("weights") == RANDOM and set(source) <= {"weights", "backbone", "seed"}:
        backbone = source.get("backbone") or DEFAULT_RANDOM_BACKBONE
        spec = {"weights": RANDOM, "backbone": backbone, "seed": source.get("seed", seed)}
        return Origin(spec=spec, architecture=backbone)
    found = _trained(session, source)
    if found is None:
        raise InvalidRequest("source", "give {run, checkpoint}, {model}, {weights: ID} or {weights: 'random'}")
    return found


def resolve_init(session: Session, init: Mapping[str, Any], architecture: str) -> Origin:
    """What a pretraining run starts from: `{run, checkpoint?}`, `{model}` or `{weights: ID}`, with `strict` beside it,
    for a backbone of this `architecture`.

    Raises:
        InvalidRequest: none of these, or weights of another architecture where `strict`.
        NotFound, NotReady: what it names does not exist, or not yet.
    """
    strict = init.get("strict", True)
    source = {key: value for key, value in init.items() if key != "strict"}
    found = None if source.get("weights") == RANDOM else _trained(session, source)
    if found is None:
        raise InvalidRequest("init", "give one of {weights: ID}, {model: NAME} and {run: ID, checkpoint}, and strict")
    if strict and found.architecture not in (None, architecture):
        message = (
            f"holds a {found.architecture}, and the run's backbone is {architecture}: set method.backbone to it, "
            "or strict to false to take what fits"
        )
        raise InvalidRequest("init", message)
    if "model_version_id" in found.spec:
        _check_tensors(session.get_one(ModelVersion, found.spec["model_version_id"]))
    return Origin(spec=found.spec | {"strict": strict}, architecture=found.architecture, after=found.after)


def _trained(session: Session, source: Mapping[str, Any]) -> Origin | None:
    keys = set(source)
    if "run" in keys and keys <= {"run", "checkpoint"}:
        run = get_run(session, source["run"], ["pretrain"])
        checkpoint = usable_checkpoint(session, run.id, source.get("checkpoint") or "last")
        return Origin(
            spec={"run": run.id, "checkpoint_id": checkpoint.id},
            architecture=run.spec["config"].get("method", {}).get("backbone"),
        )
    if keys == {"model"}:
        version = hold_version(session, resolve_ready(session, source["model"]))
        return Origin(spec={"model_version_id": version.id}, architecture=(version.manifest or {}).get("architecture"))
    if keys == {"weights"}:
        weights, after = usable_weights(session, source["weights"])
        return Origin(spec={"weights_id": weights.id}, architecture=weights.architecture, after=after)
    return None


def _check_tensors(version: ModelVersion) -> None:
    if not any(name in (version.files or {}) for name in TENSOR_FORMATS):
        raise NotReady(f"model version {version.ref} has no {' or '.join(TENSOR_FORMATS)} file: export one with it")
