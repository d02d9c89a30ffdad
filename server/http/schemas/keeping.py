"""What is kept and what is deleted: policies, reports, what the store holds."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from control.db.models import Checkpoint, StoredObject
from control.records.runs.checkpoints import Judged
from control.records.store.removals import Removed
from control.retention import Policy
from server.http.schemas.base import Body, Resource, View


class KeepRequest(Body):
    """Which checkpoints of a run are kept, beside pinned ones and those that others need; null: as the service says."""

    best: int | None = Field(default=None, ge=0, le=10_000)
    """As many of the best by its monitor."""
    latest: int | None = Field(default=None, ge=1, le=10_000)
    """As many of the newest."""
    every_epochs: float | None = Field(default=None, ge=0, le=1e9)
    """The first of every so many epochs; 0: none."""


class KeepView(View):
    """Which checkpoints of a run are kept, with what the service says where the run does not."""

    best: int
    latest: int
    every_epochs: float


class CheckpointView(Resource):
    """A checkpoint; its file is at `/v1/runs/{run}/checkpoints/{id}/file`."""

    run: str
    step: int
    epoch: float
    bytes: int
    sha256: str
    score: float | None
    """By the metric of the run's monitor; null where it was not looked at, or not yet."""
    state: str
    """`stored`; `deleting` and `deleted` are listed on request."""
    pinned_by: str | None
    pinned_at: datetime | None
    kept_because: list[str]
    """`latest`, `best`, `every_epochs`, `pinned`, `resume` (the run goes on from it), `damaged` (its file cannot be
    read and is left for you to look at), or what needs it, by name. Empty: it goes with the next clean-up."""


class KeepReport(View):
    """What a policy keeps of a run."""

    run: str
    dry_run: bool
    keep: KeepView
    kept: list[CheckpointView]
    deleted: list[CheckpointView]
    """That go with the next clean-up, or with `dry_run` would."""
    bytes: int
    """Of those."""


class RemovalView(View):
    """What deleting does, or with `dry_run` would do."""

    id: str
    """Or the name or reference of what has no id in its path."""
    dry_run: bool
    derived: list[str]
    """What was made from it, and stays."""
    bytes: int
    """Freed in the store: what nothing else needs. They go within seconds."""


class Held(View):
    """Objects of the store in one state."""

    count: int
    bytes: int


class DamageView(View):
    """An object that a reader found missing or with other bytes; storing the same content again mends it."""

    sha256: str
    bytes: int
    found_at: datetime
    detail: str
    needed_by: list[str]
    """What holds it."""


class StoreView(View):
    """What the artifact store holds, as far as the tables know."""

    stored: Held
    going: Held
    """To be deleted within seconds."""
    damaged: list[DamageView]


class OrphansView(View):
    """Objects that were in the store and in no table, old enough to be nobody's who is still writing."""

    dry_run: bool
    older_than_hours: float
    count: int
    bytes: int


def keep_view(policy: Policy) -> KeepView:
    return KeepView(best=policy.best, latest=policy.latest, every_epochs=policy.every_epochs)


def checkpoint_view(row: Checkpoint, kept_because: Sequence[str]) -> CheckpointView:
    same = ("id", "created_at", "created_by", "step", "epoch", "bytes", "score", "state", "pinned_by", "pinned_at")
    own = {"run": row.run_id, "sha256": row.digest, "kept_because": list(kept_because)}
    return CheckpointView.model_validate({field: getattr(row, field) for field in same} | own)


def keep_report(run_id: str, policy: Policy, judged: Judged, *, dry_run: bool) -> KeepReport:
    spare = {one.id for one in judged.spare}
    views = [checkpoint_view(one, judged.reasons[one.id]) for one in judged.checkpoints]
    return KeepReport(
        run=run_id,
        dry_run=dry_run,
        keep=keep_view(policy),
        kept=[view for view in views if view.id not in spare],
        deleted=[view for view in views if view.id in spare],
        bytes=sum(one.bytes for one in judged.spare),
    )


def removal_view(removed: Removed, *, dry_run: bool) -> RemovalView:
    return RemovalView(id=removed.target, dry_run=dry_run, derived=list(removed.derived), bytes=removed.bytes)


def damage_view(row: StoredObject, needed_by: list[str]) -> DamageView:
    return DamageView.model_validate(
        {
            "sha256": row.key.rpartition("/")[2],
            "bytes": row.bytes,
            "found_at": row.damaged_at,
            "detail": row.damage,
            "needed_by": needed_by,
        }
    )
