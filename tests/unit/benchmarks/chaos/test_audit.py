"""Each check finds what it is there to find."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.audit import CHECKS, Facts, RunFacts, audit, read_ledger


def state(fence: int, name: str) -> tuple[int, str, Any]:
    return fence, "state", {"state": name}


def said(fence: int, under: int) -> tuple[int, str, Any]:
    return under, "metrics", {"values": {"loss": 1.0, "fence": float(fence)}}


def good() -> Facts:
    """One run: its first attempt was lost, its second completed."""
    run = RunFacts(
        "completed",
        None,
        attempts=[(1, "lost"), (2, "completed")],
        events=[state(0, "queued"), said(1, 1), state(1, "queued"), said(2, 2), state(2, "completed")],
        checkpoints=[(4, "a"), (4, "a"), (8, "b")],
        weights="w",
    )
    return Facts(
        submitted={"run": "w"},
        runs={"run": run},
        ledger={"run": {1: (0.0, 5.0), 2: (6.0, 9.0)}},
        frozen=set(),
        leaked_slots=[],
        messages={"queue gpu": 0, "taken and not acknowledged": 0},
        most_messages=3,
        unsent=0,
        left=[],
        refusals={},
    )


def run(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, runs={"run": replace(facts.runs["run"], **changes)})


def facts(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **changes)


EVENTS = good().runs["run"].events


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert audit(good()) == {name: [] for name in CHECKS}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (facts(submitted={"run": "w", "other": "w"}), "every run submitted is there once"),
        (facts(submitted={}), "every run submitted is there once"),
        (run(state="failed"), "every run is completed"),
        (run(state="queued"), "every run is completed"),
        (run(events=[*EVENTS, state(2, "completed")]), "exactly one terminal event, one completed attempt"),
        (run(events=EVENTS[:-1]), "exactly one terminal event, one completed attempt"),
        (run(attempts=[(1, "completed"), (2, "completed")]), "exactly one terminal event, one completed attempt"),
        (run(attempts=[(1, "running"), (2, "completed")]), "exactly one terminal event, one completed attempt"),
        (run(events=[*EVENTS, said(1, 1)]), "one writer: no row under another's fence"),
        (run(events=[*EVENTS, said(1, 2)]), "one writer: no row under another's fence"),
        (facts(ledger={"run": {1: (0.0, 7.0), 2: (6.0, 9.0)}}), "one attempt of a run at work at a time"),
        (run(weights="other"), "weights and checkpoints equal undisturbed ones"),
        (run(checkpoints=[(4, "a"), (4, "b")]), "weights and checkpoints equal undisturbed ones"),
        (facts(leaked_slots=["alpha cpu:0 is held by run"]), "no slot leaked"),
        (facts(left=["runner 12"]), "no process left"),
        (facts(messages={"queue gpu": 2}), "no messages pile up"),
        (facts(unsent=1), "no messages pile up"),
        (facts(most_messages=500), "no messages pile up"),
        (facts(refusals={"POST /v1/runs: 500": 1}), "no fault of the API"),
    ],
)
def test_each_fault_is_found(change: Callable[[Facts], Facts], check: str) -> None:
    found = audit(change(good()))
    assert found[check]


def test_what_lies_with_the_broker_is_told_by_where_it_lies() -> None:
    found = audit(replace(good(), messages={"queue gpu": 0, "taken and not acknowledged": 2}))
    assert found["no messages pile up"] == ["2 wake-ups lie with the broker: taken and not acknowledged"]


def test_what_was_frozen_may_make_a_step_before_it_learns_that_it_was_given_up() -> None:
    both = replace(good(), ledger={"run": {1: (0.0, 7.0), 2: (6.0, 9.0)}}, frozen={("run", 1)})
    assert not any(audit(both).values())


def test_the_ledger_tells_when_an_attempt_was_at_work(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_text("run_a 1 77 1 10.5\nrun_b 1 78 1 10.6\nrun_a 1 77 2 11.5\nrun_a 2 79 3 12.0\n")
    assert read_ledger(ledger) == {"run_a": {1: (10.5, 11.5), 2: (12.0, 12.0)}, "run_b": {1: (10.6, 10.6)}}
