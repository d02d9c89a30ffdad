"""What one worker does for the whole service, as its leader by a lease in the tables."""

import logging
import time

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from control.db.session import read_only, unit_of_work
from control.jobs import relay
from control.records import leaders, outbox
from control.records.access import audit, idempotency
from control.records.life import leases, shares
from control.records.scheduling import preemption, serving_slots
from control.records.store import uploads
from control.records.sweeps import sweeps
from control.records.webhooks import deliveries
from control.settings import Settings
from control.storage.open import open_store
from worker.attempts.spans import tell_of_newest
from worker.output.logs import seal_ended
from worker.upkeep.cleaning import Cleaning
from worker.upkeep.courier import Courier
from worker.upkeep.shared import Shared

DUTY = "upkeep"

IN_TOUCH_SECONDS = 10.0
"""A database that was away must have answered for so long before a run is taken back: every runner that lives has
renewed its lease by then. It tries each second, and a try takes five at most."""
_PROMPT_SECONDS = 2.0
_PROMPT_SHARE = 0.25
"""A round that took longer, in seconds and as a share of the lease, came from a database that was away. A shorter one
ended nobody's lease, however slow all of them are: a large queue on a busy host must not keep lost runs lost."""

_log = logging.getLogger(__name__)


class Leader:
    """Tries for the lead each time `lead` is called; every other duty does nothing in a worker that has it not."""

    def __init__(self, settings: Settings, engine: Engine, celery: Celery, shared: Shared) -> None:
        self._settings = settings
        self._engine = engine
        self._celery = celery
        self._shared = shared
        self._courier = Courier(settings, engine)
        self._cleaning = Cleaning(settings, engine, open_store(settings))
        self._leads = False
        self._in_touch_since: float | None = None
        """Since when the database has answered without a break."""

    def lead(self) -> None:
        """Take back what nobody holds any more, and send the wake-ups that are owed."""
        begun, since = time.monotonic(), self._in_touch_since
        self._in_touch_since = None  # and so it stays when the database is away
        is_settled = since is not None and begun - since >= IN_TOUCH_SECONDS
        with unit_of_work(self._engine) as session:
            self._leads = leaders.lead(session, DUTY, self._shared.identity().id)
            lost, shed = self._take_back(session) if self._leads and is_settled else ([], [])
            asked = preemption.arrange(session, self._patience()) if self._leads else []
        for run_id in (*lost, *shed):
            _log.warning("%s was taken back: its lease had ended", run_id)
        for run_id in asked:
            _log.info("%s was asked to make room", run_id)
        was_prompt = time.monotonic() - begun < max(_PROMPT_SECONDS, _PROMPT_SHARE * self._settings.lease_seconds)
        self._in_touch_since = since if since is not None and was_prompt else time.monotonic()
        if self._leads:
            relay(self._engine, self._celery)
        tell_of_newest(self._engine, lost)

    def follow_sweeps(self) -> None:
        """Submit the evaluations of the runs that sweeps have completed."""
        if self._leads:
            with read_only(self._engine) as session:
                due = sweeps.evaluations_due(session)
            if due:
                with unit_of_work(self._engine) as session:
                    sweeps.evaluate_completed(session)

    def deliver(self) -> None:
        """Send what webhooks are owed, in threads of its own."""
        if self._leads:
            self._courier.tend()

    def clean(self) -> None:
        """Delete what is not kept."""
        if self._leads:
            self._cleaning.tend()

    def sweep_outbox(self) -> None:
        """Repeat wake-ups nobody followed, and forget what is old."""
        if self._leads:
            with unit_of_work(self._engine) as session:
                outbox.sweep(session)
                idempotency.forget_old(session)
                uploads.give_up(session)
                deliveries.forget_old(session)
                audit.forget_old(session, self._settings.audit_days)

    def seal_logs(self) -> None:
        """Bring to the store what ended attempts have left of their logs in the tables."""
        if self._leads:
            seal_ended(self._engine, open_store(self._settings), self._settings.work_dir)

    def _patience(self) -> float:
        """Seconds that saving, closing, and the next claim may take together."""
        settings = self._settings
        return settings.grace_seconds + settings.lease_seconds + settings.self_poll_seconds

    def _take_back(self, session: Session) -> tuple[list[str], list[str]]:
        """Runs whose attempt was ended, and those of which a share was."""
        serving_slots.reap(session)
        # A share's slots wait for the grace: nothing but the end of its processes makes its GPUs free.
        return leases.reap(session), shares.reap(session, self._settings.grace_seconds)
