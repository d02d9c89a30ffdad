"""Where an evaluated backbone comes from: what a request names, resolved to ids once and for all."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from control.errors import InvalidRequest, NotReady
from control.records.aliases import resolve_ready
from control.records.history import get_checkpoint
from control.records.runs import get_run
from control.records.weights import get_weights

DEFAULT_RANDOM_BACKBONE = "resnet18"


def resolve_source(session: Session, source: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """The `source` of an evaluation's spec.

    `{run, checkpoint?}` (default `last`) becomes `{run, checkpoint_id}`, `{model}` becomes `{model_version_id}`,
    `{weights: "random", backbone?, seed?}` stays, `{weights: ID}` becomes `{weights_id}`.

    Raises:
        InvalidRequest: none of these.
        NotFound, NotReady: what it names does not exist, or not yet.
    """
    keys = set(source)
    if "run" in keys and keys <= {"run", "checkpoint"}:
        run = get_run(session, source["run"], ["pretrain"])
        return {"run": run.id, "checkpoint_id": get_checkpoint(session, run.id, source.get("checkpoint") or "last").id}
    if keys == {"model"}:
        return {"model_version_id": resolve_ready(session, source["model"]).id}
    if source.get("weights") == "random" and keys <= {"weights", "backbone", "seed"}:
        backbone = source.get("backbone") or DEFAULT_RANDOM_BACKBONE
        return {"weights": "random", "backbone": backbone, "seed": source.get("seed", seed)}
    if keys == {"weights"}:
        weights = get_weights(session, source["weights"])
        if weights.state != "ready":
            raise NotReady(f"weights {weights.id} are {weights.state}: {weights.reason or 'wait for their check'}")
        return {"weights_id": weights.id}
    raise InvalidRequest("source", "give {run, checkpoint}, {model}, {weights: ID} or {weights: 'random'}")
