"""Sorts out tokens that have ended while the database can be asked: in an outage a feature server would take them."""

import logging
import threading

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.session import read_only
from control.records.access.principals import still_good
from server.http.callers.known_tokens import KnownTokens

log = logging.getLogger(__name__)

SECONDS = 30.0
"""Between two looks."""
_PATIENCE = 1.0


class Rechecks:
    """Asks the tables about all known tokens again and again, between `start` and `close`.

    Whoever calls is looked up when they call; a token that was revoked, and is shown only once the database is away,
    is known to be ended by this alone.
    """

    def __init__(self, engine: Engine, known: KnownTokens, seconds: float = SECONDS) -> None:
        self._engine = engine
        self._known = known
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recheck-tokens", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ask no more; a question that hangs is left alone."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def look(self) -> None:
        """Ask once; raises `SQLAlchemyError` while the tables cannot be asked, and changes nothing then."""
        if not (seen := self._known.seen()):
            return
        with read_only(self._engine) as session:
            now = still_good(session, (principal.token_id for principal in seen.values()))
        self._known.correct(seen, now)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except SQLAlchemyError as error:
                log.debug("known tokens cannot be looked up again: %s", error)
            except Exception:
                log.exception("known tokens could not be looked up again")
            if self._stop.wait(self._seconds):
                return
