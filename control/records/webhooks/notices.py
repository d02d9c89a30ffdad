"""What webhooks are told: every event becomes a delivery for each webhook that asked for it.

A delivery is written in the transaction that makes the event true, so exactly what was committed is told.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.ids import new_id
from control.db.models import AliasMove, Checkpoint, DatasetVersion, Delivery, ModelVersion, Run, Webhook, Weights
from control.db.session import database_time
from control.errors import InvalidRequest
from control.states import State

JOBS = {"pretrain": "run", "evaluate": "evaluation", "extract": "extraction"}
"""Kinds of job whose every state is an event, and the first word of its type. Of other kinds the result is one."""
TYPES: tuple[str, ...] = (
    *(f"{noun}.{state}" for noun in JOBS.values() for state in get_args(State)),
    *("alarm.raised", "alias.moved", "checkpoint.registered"),
    *("dataset.ready", "dataset.failed", "model.version_ready", "model.version_failed"),
    *("weights.ready", "weights.failed"),
)
TEST = "webhook.test"
"""Sent when it is asked for, whatever the webhook's patterns are."""


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise `InvalidRequest` unless each pattern is an event's type, `NOUN.*` or `*`."""
    for place, pattern in enumerate(patterns):
        if not any(_matches(pattern, known) for known in TYPES):
            nouns = ", ".join(sorted({f"{known.partition('.')[0]}.*" for known in TYPES}))
            raise InvalidRequest(f"events.{place}", f"{pattern!r} matches no event; take a type, {nouns} or *")


def tell(session: Session, type: str, link: str, data: Mapping[str, Any]) -> None:
    """Owe an event to every enabled webhook that asked for its type; `link` is where the thing is found."""
    rows = session.scalars(select(Webhook).where(Webhook.enabled))
    asked = [webhook for webhook in rows if any(_matches(pattern, type) for pattern in webhook.events)]
    if asked:
        owe(session, asked, type, link, data)


def owe(session: Session, webhooks: Sequence[Webhook], type: str, link: str, data: Mapping[str, Any]) -> list[Delivery]:
    """Owe an event to these webhooks."""
    now = database_time(session)
    event_id = new_id("evt")
    payload = {"id": event_id, "type": type, "time": now.isoformat(), "link": link, "data": dict(data)}
    owed = [
        Delivery(webhook_id=one.id, event_id=event_id, type=type, payload=payload, due_at=now, attempts=[])
        for one in webhooks
    ]
    session.add_all(owed)
    return owed


def tell_state(session: Session, run: Run) -> None:
    """A job entered a state."""
    if run.kind in JOBS:
        noun = JOBS[run.kind]
        tell(session, f"{noun}.{run.state}", f"/v1/{noun}s/{run.id}", _job(run))


def tell_result(session: Session, run: Run) -> None:
    """A job that makes something has ended: what became of the thing."""
    if run.kind == "check":
        dataset = session.get_one(DatasetVersion, run.dataset_version_id)
        link = f"/v1/datasets/{dataset.dataset}/versions/{dataset.number}"
        found = {"dataset": dataset.ref, "images": dataset.images, "digest": dataset.digest}
        tell(session, f"dataset.{dataset.state}", link, found | _outcome(dataset, run))
    elif run.kind == "export":
        version = session.get_one(ModelVersion, run.spec["model_version_id"])
        link = f"/v1/models/{version.model}/versions/{version.number}"
        found = {"model": version.model, "version": version.number, "weights_digest": version.weights_digest}
        tell(session, f"model.version_{version.state}", link, found | _outcome(version, run))
    elif run.kind == "import":
        weights = session.get_one(Weights, run.spec["weights_id"])
        found = {"weights": weights.id, "name": weights.name, "digest": weights.digest}
        tell(session, f"weights.{weights.state}", f"/v1/weights/{weights.id}", found | _outcome(weights, run))


def tell_checkpoint(session: Session, run: Run, checkpoint: Checkpoint) -> None:
    """A checkpoint is in the store."""
    found = {"run": run.id, "name": run.name, "step": checkpoint.step, "epoch": checkpoint.epoch}
    found |= {"bytes": checkpoint.bytes, "sha256": checkpoint.digest}
    tell(session, "checkpoint.registered", f"/v1/runs/{run.id}/checkpoints", found)


def tell_alarm(session: Session, run: Run, warning: Mapping[str, Any]) -> None:
    """A job warned of something."""
    noun = JOBS.get(run.kind, "run")
    tell(session, "alarm.raised", f"/v1/{noun}s/{run.id}", _job(run) | {"warning": dict(warning)})


def tell_alias(session: Session, move: AliasMove) -> None:
    """An alias names another version."""
    found = {"model": move.model, "alias": move.alias, "from": move.from_number, "to": move.to_number}
    tell(session, "alias.moved", f"/v1/models/{move.model}/aliases/{move.alias}", found | {"actor": move.created_by})


def owe_test(session: Session, webhook: Webhook, actor: str) -> Delivery:
    """Owe a message that says nothing but that it arrived."""
    found = {"webhook": webhook.id, "actor": actor, "sent_at": datetime.now(UTC).isoformat()}
    (owed,) = owe(session, [webhook], TEST, f"/v1/webhooks/{webhook.id}", found)
    session.flush()
    return owed


def _matches(pattern: str, type: str) -> bool:
    return pattern in (type, "*", f"{type.partition('.')[0]}.*")


def _job(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        "group": run.group,
        "labels": run.labels,
        "dataset": run.dataset,
        "state": run.state,
        "reason": run.reason,
        "attempt": run.attempt,
    }


def _outcome(made: DatasetVersion | ModelVersion | Weights, run: Run) -> dict[str, Any]:
    return {"state": made.state, "reason": made.reason, "job": run.id}
