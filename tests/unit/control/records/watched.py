"""A run that a monitor watches, and ways to look at what becomes of it."""

from dataclasses import dataclass

from sqlalchemy import select

from control.db.models import MonitorEvaluation, Run, RunEvent
from control.db.session import read_only
from control.states import TERMINAL
from tests.unit.control.records.hands import Hands


@dataclass(kw_only=True)
class Watched(Hands):
    """A run whose monitor is due every 2 epochs."""

    run_id: str

    def evaluated(self) -> list[tuple[int, int]]:
        """Turn and step of every evaluation that was asked for."""
        with read_only(self.engine) as session:
            found = select(MonitorEvaluation).order_by(MonitorEvaluation.step, MonitorEvaluation.turn)
            return [(entry.turn, entry.step) for entry in session.scalars(found)]

    def awaited(self) -> int:
        with read_only(self.engine) as session:
            open_ = select(Run.id).where(Run.kind == "evaluate", Run.state.not_in(TERMINAL))
            return len(session.scalars(open_).all())

    def told(self, kind: str) -> list[RunEvent]:
        with read_only(self.engine) as session:
            query = select(RunEvent).where(RunEvent.run_id == self.run_id, RunEvent.type == kind)
            return list(session.scalars(query.order_by(RunEvent.id)))
