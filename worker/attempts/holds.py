"""What a runner holds: the attempt as a whole, or the share of one more host in it."""

from typing import Protocol

from sqlalchemy.orm import Session

from control.records.life import leases, shares
from control.records.life.leases import Directive, Outcome
from worker.processes import Mark


class Hold(Protocol):
    """A claimed row under one fence; a call on one that is stale changes nothing and says so."""

    def look(self, session: Session) -> Directive | None: ...

    def renew(self, session: Session, seconds: float) -> Directive | None: ...

    def start(self, session: Session, pid: int) -> bool: ...

    def close(self, session: Session, outcome: Outcome) -> bool: ...


class RunHold:
    """The attempt: what its holder says about its end becomes the run's next state."""

    def __init__(self, mark: Mark) -> None:
        self._key = (mark.run, mark.fence)

    def look(self, session: Session) -> Directive | None:
        return leases.look(session, *self._key)

    def renew(self, session: Session, seconds: float) -> Directive | None:
        return leases.renew(session, *self._key, seconds)

    def start(self, session: Session, pid: int) -> bool:
        return leases.start(session, *self._key, pid)

    def close(self, session: Session, outcome: Outcome) -> bool:
        return leases.close(session, *self._key, outcome)


class ShareHold:
    """One host's share of the attempt."""

    def __init__(self, mark: Mark) -> None:
        self._key = mark

    def look(self, session: Session) -> Directive | None:
        return shares.look(session, *self._key)

    def renew(self, session: Session, seconds: float) -> Directive | None:
        return shares.renew(session, *self._key, seconds)

    def start(self, session: Session, pid: int) -> bool:
        return shares.start(session, *self._key, pid)

    def close(self, session: Session, outcome: Outcome) -> bool:
        return shares.end(session, *self._key, outcome)


def hold_of(mark: Mark) -> Hold:
    """What the runner of these processes holds."""
    return ShareHold(mark) if mark.node else RunHold(mark)
