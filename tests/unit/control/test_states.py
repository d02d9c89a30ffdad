from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.errors import IllegalMove
from control.states import (
    ACTIONS,
    HELD,
    MAX_LOSSES,
    MOVES,
    STATES,
    TERMINAL,
    Action,
    DesiredState,
    Ending,
    Move,
    State,
    Tally,
    after_attempt,
    available_actions,
    back_off,
    move,
)

ENDINGS: tuple[Ending, ...] = ("completed", "stopped", "failed", "lost", "preempted")
DESIRED: tuple[DesiredState, ...] = ("run", "pause", "cancel", "kill", "finish", "preempt")


def test_the_table_as_people_know_it() -> None:
    assert {state: available_actions(state) for state in STATES} == {
        "queued": ("pause", "cancel", "kill"),
        "starting": ("pause", "cancel", "kill", "finish"),
        "running": ("pause", "cancel", "kill", "finish"),
        "pausing": ("resume", "finish", "cancel", "kill"),
        "paused": ("resume", "cancel", "kill"),
        "cancelling": ("kill",),
        "cancelled": (),
        "completed": (),
        "failed": (),
    }


@pytest.mark.parametrize(("state", "action"), MOVES)
def test_every_move_is_idempotent(state: State, action: Action) -> None:
    first = move(state, "run", action)
    assert first is not None
    assert move(first.state, first.desired, action) is None


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_nothing_leaves_an_end(state: State) -> None:
    for action in ACTIONS:
        with suppress(IllegalMove):
            assert move(state, "run", action) is None


@pytest.mark.parametrize(
    ("state", "desired", "action"),
    [
        ("paused", "pause", "finish"),
        ("queued", "run", "finish"),
        ("running", "finish", "resume"),
        ("cancelling", "cancel", "resume"),
        ("completed", "run", "cancel"),
        ("failed", "run", "kill"),
        ("cancelled", "cancel", "pause"),
    ],
)
def test_what_is_not_in_the_table_is_refused(state: State, desired: DesiredState, action: Action) -> None:
    with pytest.raises(IllegalMove) as refused:
        move(state, desired, action)
    assert refused.value.available == available_actions(state)


@pytest.mark.parametrize("state", ["queued", "paused"])
def test_what_is_saved_and_held_by_nobody_can_be_called_finished(state: State) -> None:
    assert move(state, "run", "finish", saved=True) == Move("completed", "finish")
    assert "finish" in available_actions(state, saved=True)
    assert "finish" not in available_actions(state)


def test_a_pause_can_be_taken_back_until_the_run_is_paused() -> None:
    assert move("pausing", "pause", "resume") == Move("running", "run")
    assert move("running", "preempt", "resume") is None


def test_a_kill_is_not_weakened_to_a_cancel() -> None:
    assert move("cancelling", "kill", "cancel") is None


@given(
    st.sampled_from(ENDINGS),
    st.sampled_from(DESIRED),
    st.integers(0, 5),
    st.integers(1, 5),
    st.integers(0, MAX_LOSSES - 1),
)
def test_the_end_of_an_attempt(ending: Ending, desired: DesiredState, failures: int, most: int, losses: int) -> None:
    after = after_attempt(ending, desired, Tally(failures, most, losses), "why")
    assert after.state not in HELD
    assert 0 <= after.back_off <= 10
    assert after.failures - failures in (0, 1)
    if desired in ("cancel", "kill"):
        assert after.state == ("completed" if ending == "completed" else "cancelled")
        assert after.failures == failures
    elif ending == "completed":
        assert after.state == "completed"
    elif ending == "failed":
        assert after.failures == failures + 1
        assert (after.state == "failed") == (after.failures >= most)
        assert after.losses == losses
    elif ending == "preempted" and desired == "pause":
        assert (after.state, after.losses) == ("paused", losses)
    elif ending in ("lost", "preempted"):
        assert (after.failures, after.losses) == (failures, losses + 1)
        assert (after.state == "failed") == (after.losses == MAX_LOSSES)
        assert (after.back_off > 0) == (ending == "lost" and after.state != "failed")
    if desired == "pause":
        assert after.state in ("paused", "completed", "failed")


@pytest.mark.parametrize(
    ("ending", "desired", "state"),
    [
        ("stopped", "run", "failed"),
        ("lost", "run", "failed"),
        ("stopped", "finish", "completed"),
        ("stopped", "pause", "paused"),
        ("stopped", "cancel", "cancelled"),
        ("completed", "run", "completed"),
    ],
)
def test_a_run_whose_time_is_used_up_is_not_tried_again(ending: Ending, desired: DesiredState, state: State) -> None:
    after = after_attempt(ending, desired, Tally(0, 3, 0), "used up", "time_limit")
    assert (after.state, after.failures, after.losses) == (state, 0, 0)


def test_back_off() -> None:
    assert [back_off(times) for times in range(1, 8)] == [1, 2, 4, 8, 10, 10, 10]
    assert back_off(MAX_LOSSES) == 10
