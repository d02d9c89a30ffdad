"""What a person sees."""

import io
import logging
import sys
from pathlib import Path

import pytest

from detco_core.contract.events import Metrics, Progress
from detco_core.train.console import Bar, Lines, Silent, open_console, resume_command
from tests.log_lines import lines_of

PROGRESS = Progress(
    step=10, steps=20, epoch=1.25, epochs=2.5, images_per_second=41.26, data_wait=0.034, eta_seconds=75.4
)
METRICS = Metrics(step=10, values={"loss": 12.34567, "lr": 0.015})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_per_metric_event(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), open_console(visible=True) as console:
        assert isinstance(console, Lines)
        console.progress(PROGRESS)
        console.metrics(METRICS)
    (line,) = lines_of(caplog, "detco_core.train.console")
    assert line.message == "step 10/20  epoch 1.25/2.5  loss 12.3457  lr 0.015  41.3 img/s  data wait 3%  0:01:15 left"


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
    assert not lines_of(caplog, "detco_core.train.console")


def test_log_lines_go_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler made before the bar was there would write into it."""
    terminal, errors = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", errors)
    handler = logging.StreamHandler(errors)
    logging.getLogger().addHandler(handler)
    try:
        with open_console(visible=True) as console:
            console.progress(PROGRESS)
            logging.getLogger("detco_core").warning("look at this")
        assert handler.stream is errors
    finally:
        logging.getLogger().removeHandler(handler)
    assert "look at this" in terminal.getvalue()
    assert "look at this" not in errors.getvalue()


@pytest.mark.parametrize(
    ("argv", "processes", "expected"),
    [
        (
            ["/v/bin/python", "-m", "detco_core", "pretrain", "/my jobs/a.json"],
            1,
            "/v/bin/python -m detco_core pretrain '/my jobs/a.json' --resume '/my runs/c.pt'",
        ),
        (
            ["python3", "-u", "-m", "detco_core", "pretrain", "a.json", "--resume", "old.pt"],
            2,
            "torchrun --standalone --nproc-per-node=2 -m detco_core pretrain a.json --resume '/my runs/c.pt'",
        ),
        (
            ["python", "-m", "detco_core", "pretrain", "--resume=old.pt", "a.json"],
            1,
            "python -m detco_core pretrain a.json --resume '/my runs/c.pt'",
        ),
        (["notebook"], 1, "python -m detco_core pretrain JOB.json --resume '/my runs/c.pt'"),
    ],
)
def test_the_command_that_goes_on(argv: list[str], processes: int, expected: str) -> None:
    assert resume_command(argv, Path("/my runs/c.pt"), processes) == expected
