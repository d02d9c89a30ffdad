"""What readiness stands on: the path the work takes, not an open port."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from control.bus import broker_trouble
from control.db.migrate import at_head
from control.db.models import Worker
from control.db.session import database_time
from control.records.scheduling.workers import list_workers
from control.records.store.objects import count_damaged
from server.http.deps import Services
from server.http.schemas.service import Check

_PROBE_SECONDS = 2.0
_LOOKS_MISSED = 4
_LONG_SECONDS = 60.0
"""A busy machine may miss a look or two."""


def api_checks(services: Services) -> dict[str, Check]:
    """The database answers, and its schema is this version's; blocks."""
    try:
        newest, artifacts = services.patience.ask(lambda: _of_tables(services))
    except (SQLAlchemyError, TimeoutError) as error:
        away = Check(ok=False, detail=f"does not answer: {type(error).__name__}")
        return {"database": away, "migrations": Check(ok=False, detail="cannot be read")}
    detail = "at head" if newest else "behind: run `python -m control migrate`"
    checks = {"database": Check(ok=True, detail="answers"), "migrations": Check(ok=newest, detail=detail)}
    return checks | artifacts | _broker(services)


def _of_tables(services: Services) -> tuple[bool, dict[str, Check]]:
    newest = at_head(services.engine)
    return newest, _artifacts(services) if newest else {}


def _broker(services: Services) -> dict[str, Check]:
    """The broker is never needed, only quicker: trouble with it is told, and stops nothing."""
    if services.settings.broker_url is None:
        return {}
    return {"broker": Check(ok=True, detail=broker_trouble(services.settings) or "answers, and evicts nothing")}


def _artifacts(services: Services) -> dict[str, Check]:
    """What a person should see to; the service can do its work all the same."""
    with services.look() as session:
        count = count_damaged(session)
    detail = f"{count} lost or damaged: GET /v1/store names them" if count else "none is known to be damaged"
    return {"artifacts": Check(ok=True, detail=detail)}


def worker_checks(services: Services) -> dict[str, Check]:
    """At least one worker was heard of lately, and those that may take work look for it; blocks."""
    try:
        now, workers = services.patience.ask(lambda: _of_workers(services))
    except (SQLAlchemyError, TimeoutError):
        return {"workers": Check(ok=False, detail="cannot be read")}
    if not workers:
        return {"workers": Check(ok=False, detail="none was heard of lately: start one with `detco work`")}
    heard = min((now - worker.seen_at).total_seconds() for worker in workers)
    looks = [(now - (worker.looked_at or worker.created_at)).total_seconds() for worker in workers if _may_take(worker)]
    alive = f"{len(workers)} alive, the last heard of {heard:.0f} s ago"
    if looks and min(looks) > max(_LONG_SECONDS, _LOOKS_MISSED * services.settings.self_poll_seconds):
        return {"workers": Check(ok=False, detail=f"{alive}, but none has looked for work for {min(looks):.0f} s")}
    return {"workers": Check(ok=True, detail=alive)}


def _of_workers(services: Services) -> tuple[datetime, list[Worker]]:
    with services.look() as session:
        return database_time(session), list_workers(session)


def _may_take(worker: Worker) -> bool:
    return worker.state == "active"


async def feature_checks(services: Services) -> Mapping[str, Check]:
    """Every promoted model is loaded (or known not to load) and answers a picture; nothing where none are served."""
    engine = services.features
    if engine is None:
        return {}
    if not engine.models.settled:
        return {"models": Check(ok=False, detail="still loading")}
    wrong = await engine.probe(_PROBE_SECONDS)
    states = engine.models.states()
    failed = [f"{s.alias} -> {s.served or 'nothing'}, not {s.wanted}: {s.failure}" for s in states if s.failure]
    failed += [f"{version}, pinned: {why}" for version, why in sorted(engine.models.pins_failed().items(), key=str)]
    served = ", ".join(f"{s.alias} -> {s.served} on {s.provider}" for s in states if s.served) or "none promoted"
    return {"models": Check(ok=not wrong, detail="; ".join([*wrong, *failed]) or served)}
