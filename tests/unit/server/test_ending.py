"""A process leaves although a thread of it hangs."""

import subprocess
import sys

_HANGS = """
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from server.ending import leave

ThreadPoolExecutor(1).submit(Event().wait)
print("all is closed")
leave(7)
"""


def test_a_thread_that_hangs_holds_up_no_end_and_what_was_said_is_out() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (7, "all is closed\n")
