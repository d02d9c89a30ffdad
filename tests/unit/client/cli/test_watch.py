import io
from typing import Any

import pytest
from rich.console import Console

from detco_client.cli.watch import losses, panel, progress_text, waiting_text, watch_run
from detco_client.client import DetcoClient


def run(**more: Any) -> Any:
    progress = {"step": 40, "steps": 120, "epoch": 10.0, "images_per_second": 21.34, "data_wait": 0.25}
    found = {"id": "run_1", "name": None, "state": "running", "progress": {**progress, "eta_seconds": 95.0}}
    return {**found, "metrics": {"loss": 23.456}, "waiting_reason": None, "queue_position": None, **more}


def test_progress_says_speed_time_left_and_what_it_waits_for() -> None:
    words = "step 40/120  epoch 10.0  21.3 img/s  95 s left  25% waiting for data  loss 23.46"
    assert progress_text(run()) == words
    assert "left" not in progress_text(run(state="completed"))
    assert progress_text(run(progress=None)) == ""


def test_a_run_that_waits_says_why() -> None:
    assert (
        waiting_text(run(waiting_reason="no_free_slot", queue_position=2))
        == "waiting: no free slot, number 2 in the queue"
    )
    assert (
        waiting_text(run(waiting_reason="after", waiting_detail="it comes after run_2"))
        == "waiting: it comes after run_2"
    )
    assert waiting_text(run(state="failed", reason="the loss is NaN")) == "the loss is NaN"
    assert waiting_text(run()) == ""


def test_losses_stand_by_term_and_stage() -> None:
    assert losses({"loss": 1.0}) is None
    table = losses({"loss/g2g/res2": 6.5, "loss/g2g/res5": 7.25, "loss/l2g/res5": 11.0})
    assert table is not None
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    words = [line.split() for line in out.getvalue().splitlines()]
    assert words == [["loss", "res2", "res3", "res4", "res5"], ["g2g", "6.5", "7.25"], ["l2g", "11"]]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_watch_draws_until_the_end(service: Any, terminal: bool) -> None:
    service.state.runs = {"run_1": run(state="completed", metrics={"loss": 1.5, "loss/g2g/res2": 6.5})}
    out = io.StringIO()
    with DetcoClient() as client:
        ended = watch_run(client, "run_1", Console(file=out, force_terminal=terminal, width=120))
    assert ended["state"] == "completed"
    assert "step 40/120" in out.getvalue()


def test_what_a_run_is_called_is_not_markup() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(panel(run(name="[b]x[/b]")))
    assert "[b]x[/b]" in out.getvalue()
