"""What a runner has in hand, the attempt as a whole or one host's share of it: how it is begun, and its processes.

The main thread of a runner only looks after the processes: inputs are brought in a thread of their own, as often as
store, database and disk make it fail, and nobody waits for them who has to leave.
"""

import logging
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from control.errors import StoreError
from worker.attempts.lease import Lease
from worker.attempts.orders import Orders
from worker.attempts.services import Services
from worker.background import in_background
from worker.host.addresses import interface_environment, own_address
from worker.host.disk import is_full
from worker.inputs.prepare import Prepared, prepare
from worker.launch import Command, Post, job_command, job_environment, launch
from worker.outages import DATABASE_AWAY, RETRY_SECONDS
from worker.processes import Leash, Mark, clean_up

T = TypeVar("T")

EXIT_CLOSED = 0
"""The attempt or share is closed, or is another's by now."""
EXIT_OPEN = 1
"""Whoever holds the leash must see to it."""
TICK = 0.1
"""Seconds between two looks at a process."""

_PULSE = 0.5

_log = logging.getLogger(__name__)


class Assignment:
    """One mark, its folder, the lease that is kept on it and the orders that come for it."""

    def __init__(
        self, services: Services, mark: Mark, folder: Path, leash: int, command: Command = job_command
    ) -> None:
        self.services = services
        self.mark = mark
        self.folder = folder
        self.lease = Lease(services.engine, mark, services.settings)
        self.orders = Orders(self.lease, leash, services.settings.shutdown_seconds)
        self._command = command
        self._unpacked = services.unpacked()

    def prepare(self) -> Prepared:
        """Fill the folder; see `worker.inputs.prepare`."""
        return prepare(self.services.engine, self.services.place, self._unpacked, self.mark, self.folder)

    def await_inputs(
        self, bring: Callable[[], T | None], is_off: Callable[[], bool], warn: Callable[[], None] = lambda: None
    ) -> T | None:
        """What `bring` gives, once it neither fails nor gives None, which is to say not yet; None when `is_off` first.

        `warn` hears of a full disk each time it is met. Any other error is raised.
        """
        inputs = in_background(partial(self._bring, bring, warn), "inputs")
        while not inputs.done():
            if is_off():
                return None
            time.sleep(TICK)
        return inputs.result()

    def work(
        self, prepared: Prepared, post: Post | None, supervise: Callable[["subprocess.Popen[bytes]"], None]
    ) -> int | None:
        """Run the processes under `supervise` and leave none; the exit code, None if the kernel could not end them."""
        leash = Leash()
        environment = job_environment(self.mark, prepared.gpus, prepared.threads)
        if post is not None:
            environment |= interface_environment(own_address(self.services.settings))
        process = launch(self._command(prepared.verb, prepared.processes, post), self.folder, environment, leash)
        self.lease.announce()
        try:
            supervise(process)
        finally:
            leash.let_go()
            clean_up(self.mark.run)
        return process.returncode

    def _bring(self, bring: Callable[[], T | None], warn: Callable[[], None]) -> T:
        while True:
            try:
                brought = bring()
                if brought is not None:
                    return brought
                time.sleep(_PULSE)
            except (StoreError, *DATABASE_AWAY) as error:
                _log.warning("%s %s waits for its inputs: %s", self.mark.run, self.mark.name, error)
                time.sleep(RETRY_SECONDS)
            except OSError as error:
                if not is_full(error):
                    raise
                _log.warning("%s %s waits for room: %s", self.mark.run, self.mark.name, error)
                warn()
                time.sleep(RETRY_SECONDS)
