"""SQLite, which has one writer at a time: how those who want to write get their turn (docs/decisions/197).

Left to itself, a writer that finds the file taken sleeps, longer each time, before it looks again: among several that
go on writing it may miss every gap for many seconds. So the writers of an engine line up, and only the first of them
asks the file, every few milliseconds. The file's own lock is what holds, and what other processes ask for as often.
"""

import random
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from control.db.turns import Turns

READ_ONLY = "detco_read_only"
"""Execution option of a connection that only looks: its transactions take no write lock."""
_BUSY_TIMEOUT_MS = 30_000
"""How long the file may be taken by others before one who waits is told "database is locked"."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.016
"""Seconds until the file is asked again. SQLite's own pauses grow to 0.1 s: whoever has waited longest looks least."""
_BEGIN = "BEGIN IMMEDIATE"
_KIND = 0xFF
"""The part of an error's code that says what kind it is of."""


def set_up(engine: Engine) -> None:
    """Let an engine whose connections are `Connected` begin its transactions as they should be on SQLite."""
    turns = Turns()

    def connect(driver: Connected, _record: object) -> None:
        driver.turns = turns
        # The driver must not begin transactions by itself: `begin` does, with the right lock.
        driver.isolation_level = None
        for pragma in ("journal_mode=WAL", f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
            driver.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", _begin)


class Connected(sqlite3.Connection):
    """A connection that has its engine's turn from `begin_writing` to the end of that transaction."""

    turns: Turns
    has_turn = False

    def begin_writing(self) -> None:
        """Begin when the turn has come and the file is free.

        Raises:
            sqlite3.OperationalError: "database is locked", after the connection's own `busy_timeout`.
        """
        patience = float(self.execute("PRAGMA busy_timeout").fetchone()[0])
        until = time.monotonic() + patience / 1000
        self.has_turn = self.turns.take(patience / 1000)
        self.execute("PRAGMA busy_timeout=0")
        try:
            self._ask(until)
        except BaseException:
            self._pass_on()
            raise
        finally:
            self.execute(f"PRAGMA busy_timeout={patience:.0f}")

    def commit(self) -> None:
        super().commit()
        self._pass_on()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self._pass_on()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._pass_on()

    def _ask(self, until: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self.execute(_BEGIN)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _KIND != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            else:
                return
            time.sleep(random.uniform(0.5, 1.5) * pause)  # never in step with another process
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _pass_on(self) -> None:
        if self.has_turn:
            self.has_turn = False
            self.turns.pass_on()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY, False):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    try:
        driver.begin_writing()
    except sqlite3.OperationalError as error:  # what is raised in here, SQLAlchemy does not translate
        raise OperationalError(_BEGIN, None, error) from error
