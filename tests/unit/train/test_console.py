"""What a person sees."""

import io
import logging
import sys

import pytest

from detco_core.contract.events import Metrics, Progress
from detco_core.train.console import Bar, Lines, Silent, open_console

PROGRESS = Progress(step=10, steps=20, epoch=1.25, images_per_second=41.26, data_wait=0.034, eta_seconds=75.4)
METRICS = Metrics(step=10, values={"loss": 12.34567, "lr": 0.015})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_per_metric_event(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), open_console(visible=True) as console:
        assert isinstance(console, Lines)
        console.progress(PROGRESS)
        console.metrics(METRICS)
    (line,) = caplog.messages
    assert line == "step 10/20  epoch 1.25  loss 12.3457  lr 0.015  41.3 img/s  data wait 3%  0:01:15 left"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with open_console(visible=True) as console:
        assert isinstance(console, Bar)
        console.progress(PROGRESS)
        console.metrics(METRICS)
    shown = terminal.getvalue()
    for part in ("loss 12.3457", "10/20", "41.3 img/s", "0:01:15 left"):
        assert part in shown


def test_other_ranks_show_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), open_console(visible=False) as console:
        assert isinstance(console, Silent)
        console.progress(PROGRESS)
        console.metrics(METRICS)
    assert not caplog.messages
