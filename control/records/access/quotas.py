"""What one token may have at once: jobs that workers hold, training slots they hold, jobs that wait; and what it may
take of a feature server, which counts that by itself.

A run over the first two waits, and holds up nobody; one over the third is refused. Runs, evaluations and exports count
that the token asked for; slots are those of training. Scans and imports do not: what waits for them does.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from control.db.models import Run, Token
from control.errors import InvalidRequest, NotFound, QuotaExceeded
from control.records import outbox
from control.states import HELD, TERMINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """The most a token may have at once; None: any number."""

    running: int | None = None
    """Jobs that workers hold."""
    slots: int | None = None
    """Training slots these hold."""
    queued: int | None = None
    """Jobs that wait."""
    images: int | None = None
    """Under way at once in a feature server; None: as that is set."""
    pixels_per_second: int | None = None
    """Of images sent to a feature server; None: as that is set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a token has now, in the terms of its quota; of feature servers nothing, which tell nobody."""

    running: int
    slots: int
    queued: int


def quota_of(token: Token) -> Quota:
    return Quota(
        running=token.max_running,
        slots=token.max_slots,
        queued=token.max_queued,
        images=token.max_images,
        pixels_per_second=token.max_pixels_per_second,
    )


def set_quota(session: Session, token_id: str, quota: Quota) -> Token:
    """Change what a token may have; what it has by now is left alone, and counts.

    Raises:
        NotFound: there is no such token.
        InvalidRequest: a bound below zero.
    """
    for name, bound in asdict(quota).items():
        if bound is not None and bound < 0:
            raise InvalidRequest(f"quota.{name}", "must be 0 or more, or null for any number")
    token = session.get(Token, token_id, with_for_update=True, populate_existing=True)
    if token is None:
        raise NotFound("token", token_id)
    _write(token, quota)
    for queue in session.scalars(select(Run.queue).where(Run.token_id == token_id, Run.state == "queued").distinct()):
        outbox.owe(session, queue)
    session.flush()
    return token


def carry_over(session: Session, old: Token, new: Token) -> None:
    """Give the token that takes another's place its quota, and let what is not over yet count against that."""
    _write(new, quota_of(old))
    session.flush()
    unfinished = update(Run).where(Run.token_id == old.id, Run.state.not_in(TERMINAL))
    session.execute(unfinished.values(token_id=new.id))


def _write(token: Token, quota: Quota) -> None:
    token.max_running, token.max_slots, token.max_queued = quota.running, quota.slots, quota.queued
    token.max_images, token.max_pixels_per_second = quota.images, quota.pixels_per_second


def usage(session: Session, token_id: str) -> Usage:
    """What the token's jobs take now."""
    own = select(Run.state, Run.queue, func.count(), func.sum(Run.slots_wanted)).where(Run.token_id == token_id)
    rows = session.execute(own.where(Run.state.in_({*HELD, "queued"})).group_by(Run.state, Run.queue)).all()
    return Usage(
        running=sum(count for state, _, count, _ in rows if state in HELD),
        slots=sum(slots for state, queue, _, slots in rows if state in HELD and queue == "gpu"),
        queued=sum(count for state, _, count, _ in rows if state == "queued"),
    )


def admit(session: Session, token_id: str | None, slots: int) -> None:
    """Let a token queue one more job, which needs so many training slots; its row is held until the commit.

    Raises:
        QuotaExceeded: too many wait already, or it could never be placed.
    """
    token = _with_quota(session, token_id)
    if token is None:
        return
    quota = quota_of(token)
    _check_slots(token, slots)
    if quota.queued is not None and usage(session, token.id).queued >= quota.queued:
        message = f"token {token.name!r} may have {quota.queued} jobs waiting at once, and has them"
        raise QuotaExceeded(f"{message}: wait until some have begun, or cancel some")


def check_slots(session: Session, token_id: str | None, slots: int) -> None:
    """Raise `QuotaExceeded` when a token may never hold so many training slots."""
    token = session.get(Token, token_id) if token_id else None
    if token is not None:
        _check_slots(token, slots)


def within() -> ColumnElement[bool]:
    """The condition of a query that the quota of a run's token lets workers hold it as well."""
    used = aliased(Run)
    held = (used.token_id == Run.token_id, used.state.in_(HELD))
    running = select(func.count()).select_from(used).where(*held).correlate(Run).scalar_subquery()
    taken = select(func.coalesce(func.sum(used.slots_wanted), 0)).where(*held, used.queue == "gpu")
    slots = taken.correlate(Run).scalar_subquery()
    full = or_(Token.max_running <= running, and_(Run.queue == "gpu", Token.max_slots < slots + Run.slots_wanted))
    return ~exists(select(literal(1)).select_from(Token).where(Token.id == Run.token_id, full).correlate(Run))


def confirm(session: Session, run: Run) -> bool:
    """Whether `within` still holds now that nobody else can claim a job of the same token until the commit."""
    token = _with_quota(session, run.token_id)
    return token is None or not _exceeded(quota_of(token), usage(session, token.id), run)


def over(session: Session, run: Run) -> str | None:
    """In what way a queued run is over its token's quota; None when it is not."""
    token = session.get(Token, run.token_id) if run.token_id else None
    if token is None or (token.max_running is None and token.max_slots is None):
        return None  # it is not counted for nothing: a token may have ten thousand jobs
    quota, used = quota_of(token), usage(session, token.id)
    exceeded = _exceeded(quota, used, run)
    if exceeded == "running":
        return f"token {token.name!r} may have {quota.running} jobs running at once, and has {used.running}"
    if exceeded == "slots":
        more = f"and has {used.slots}; this needs {run.slots_wanted}"
        return f"token {token.name!r} may hold {quota.slots} training slots at once, {more}"
    return None


def _check_slots(token: Token, slots: int) -> None:
    if token.max_slots is not None and slots > token.max_slots:
        message = f"it needs {slots} training slots, and token {token.name!r} may hold {token.max_slots} at once"
        raise QuotaExceeded(f"{message}: ask for fewer GPUs, or an administrator for more")


def _exceeded(quota: Quota, used: Usage, run: Run) -> str | None:
    if quota.running is not None and used.running >= quota.running:
        return "running"
    if run.queue == "gpu" and quota.slots is not None and used.slots + run.slots_wanted > quota.slots:
        return "slots"
    return None


def _with_quota(session: Session, token_id: str | None) -> Token | None:
    """The token, held until the commit, if it has a quota: two who count at once would both find room."""
    token = session.get(Token, token_id) if token_id else None
    if token is None or quota_of(token) == Quota():
        return None
    return session.get(Token, token_id, with_for_update=True, populate_existing=True)
