"""Work in the background gives its result or its error, and keeps no process alive."""

import subprocess
import sys
import threading

import pytest

from worker.background import in_background
from worker.launch import package_environment


def test_gives_the_result() -> None:
    gate = threading.Event()
    future = in_background(lambda: gate.wait(20) and 42, "test")
    assert not future.done()
    gate.set()
    assert future.result(20) == 42


def test_gives_the_error() -> None:
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0, "test").result(20)


def test_does_not_keep_the_process() -> None:
    code = "import time; from worker.background import in_background; in_background(lambda: time.sleep(600), 'test')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=package_environment())
