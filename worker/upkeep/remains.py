"""What lies on this host of attempts whose runner is dead, of attempts that are over, and of data that was deleted."""

import logging

from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.records.datasets import datasets
from control.records.life import leases, shares
from control.records.life.leases import Outcome
from control.records.runs.runs import is_deleted
from control.records.store import uploads
from control.settings import Settings
from worker.attempts.folder import all_folders, attempt_folder, discard, is_occupied, is_old, trim
from worker.attempts.holds import hold_of
from worker.attempts.spans import tell_of
from worker.inputs.unpacked import Unpacked
from worker.launch import log_tail
from worker.output.logs import ship_rest
from worker.processes import Mark, marked, sweep

_log = logging.getLogger(__name__)


class Remains:
    """Closes, ends, trims and removes what nobody else sees to any more."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._suspects: set[Mark] = set()

    def close_the_dead(self) -> None:
        """Close attempts of this host whose runner is dead, when that was seen twice: their folder is not locked.

        Usually whoever stayed with the runner does so; this is for when that process was killed too.
        """
        with read_only(self._engine) as session:
            host = self._settings.host_name
            held = [*leases.held_on(session, host), *shares.held_on(session, host)]
        marks = (Mark(run.run_id, run.fence, run.node) for run in held)
        suspects = {mark for mark in marks if self._is_deserted(mark)}
        for mark in suspects & self._suspects:
            self._close(mark)
        self._suspects = suspects

    def tidy(self) -> None:
        """End what is left of attempts nobody holds any more, trim their folders, and remove old ones."""
        for mark, folder in all_folders(self._settings.work_dir):
            if is_occupied(folder):
                continue
            with read_only(self._engine) as session:
                held = hold_of(mark).look(session) is not None
                is_gone = is_deleted(session, mark.run)
            if not held:
                sweep(lambda mark=mark: marked(mark))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                ship_rest(self._engine, mark, folder, self._settings.log_bytes)
                trim(folder)
                if is_gone or is_old(folder):
                    discard(folder)

    def forget_data(self) -> None:
        """Remove what lies here of uploads and of data sets in S3 that were deleted."""
        unpacked = Unpacked(self._settings.data_dir / "cache", self._settings)
        here = [f"sha256:{name}" for name in unpacked.kept()]
        with read_only(self._engine) as session:
            gone = set(here) - uploads.known(session, here) if here else set()
            roots = datasets.remote_roots(session)
        for digest in gone:
            unpacked.forget(digest)
        unpacked.forget_objects(roots)

    def _is_deserted(self, mark: Mark) -> bool:
        # No folder: it is another data folder's attempt, or not begun.
        folder = attempt_folder(self._settings.work_dir, mark)
        return folder.is_dir() and not is_occupied(folder)

    def _close(self, mark: Mark) -> None:
        sweep(lambda: marked(mark))
        folder = attempt_folder(self._settings.work_dir, mark)
        ship_rest(self._engine, mark, folder, self._settings.log_bytes)
        outcome = Outcome(kind="lost", message="its runner and worker were killed", log_tail=log_tail(folder))
        with unit_of_work(self._engine) as session:
            closed = hold_of(mark).close(session, outcome)
        if closed:
            _log.warning("%s %s: lost, its runner and worker were killed", mark.run, mark.name)
            trim(folder)
            tell_of(self._engine, mark)
