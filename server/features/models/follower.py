"""Follows the catalogue in a thread of its own, and knows whether it can be asked."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that closing waits for a question under way."""


class Follower:
    """Looks at the catalogue again and again, between `start` and `close`."""

    def __init__(self, restore: Callable[[], None], look: Callable[[], None], seconds: float) -> None:
        """`restore` takes up what was known last, once; `look` asks the catalogue every so many `seconds`, and raises
        what it raises.
        """
        self._restore = restore
        self._look = look
        self._seconds = seconds
        self.down: str | None = None
        """Why the catalogue could not be asked last; None when it could."""
        self._looked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow-aliases", daemon=True)

    @property
    def has_looked(self) -> bool:
        """Whether the first look is over, with an answer or without."""
        return self._looked.is_set()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.ident is not None:
            # It may hang in a question to a database that does not answer; nothing waits for its answer any more.
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        self._restore()
        while not self._stop.is_set():
            try:
                self._look()
                self._note(None)
            # A catalogue may raise anything while its source is down; what is loaded goes on serving.
            except Exception as error:  # noqa: BLE001 - the reason is above
                self._note(error)
            self._looked.set()
            self._stop.wait(self._seconds)

    def _note(self, error: Exception | None) -> None:
        """The log says when an outage begins and when it ends."""
        if error and not self.down:
            log.warning("the records cannot be asked; serving goes on with what is here: %s", error)
        if self.down and not error:
            log.info("the records can be asked again")
        # Its words alone: the error itself holds the frames it came through.
        self.down = None if error is None else str(error) or type(error).__name__
