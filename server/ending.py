"""How a process of the service leaves once all is closed."""

import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End this process now, whatever its threads are at.

    Python would wait for every thread of a pool, and one that has asked a database which neither answers nor refuses
    may wait for good. What such a thread was about to read, nobody waits for any more.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it may be gone
            stream.flush()
    os._exit(status)
