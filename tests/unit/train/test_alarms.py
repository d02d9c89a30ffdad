"""Alarms on made-up values; that real runs raise them is in test_trainer.py."""

import json
import math
from collections.abc import Callable

import pytest

from detco_core.contract.config import RunConfig
from detco_core.train.alarms import STARVATION_SECONDS, STUCK_MARGIN, Alarms

Configs = Callable[..., RunConfig]
FULL = 1 / math.sqrt(8)
CHANCE = math.log(9)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def alarms(tiny_config: Configs) -> Alarms:
    """Of an embedding of 8 values and a queue of 8 keys."""
    return Alarms(config=tiny_config(alarms__stuck_steps=10), clock=Clock())


def reasons(alarms: Alarms, step: int, values: dict[str, float]) -> list[str]:
    return [str(alarm.details.get("reason", alarm.code)) for alarm in alarms.look(step, values)]


def test_a_healthy_run_raises_none(alarms: Alarms) -> None:
    values = {"loss": 20.0, "loss/g2g/res5": 1.0, "embedding_std/global/res5": FULL, "data_wait": 0.5}
    assert not any(reasons(alarms, step, values) for step in range(0, 1000, 10))


def test_collapse_is_told_once_until_it_is_over(alarms: Alarms) -> None:
    flat, well = ({"embedding_std/local/res3": share * FULL} for share in (0.09, 0.11))
    told = [reasons(alarms, step, values) for step, values in enumerate((well, flat, flat, flat, well, flat, flat), 1)]
    assert told == [[], [], [], [], [], [], []]
    told = [
        reasons(alarms, 10 * step, values) for step, values in enumerate((well, flat, flat, flat, well, flat, flat))
    ]
    assert told == [[], [], ["std"], [], [], [], ["std"]]


def test_a_network_that_starts_flat_has_time_to_unfold(alarms: Alarms) -> None:
    for step, std in ((0, 0.0), (9, 0.0), (10, FULL), (20, FULL)):
        assert not reasons(alarms, step, {"embedding_std/local/res3": std})


def test_stages_that_collapse_together_are_told_together(alarms: Alarms) -> None:
    flat = {"embedding_std/local/res3": 0.0, "embedding_std/global/res5": 0.0}
    assert not reasons(alarms, 0, flat)
    assert not reasons(alarms, 5, {**flat, "embedding_std/local/res2": 0.0})
    (alarm,) = alarms.look(10, flat | {"embedding_std/local/res2": 0.0})
    assert (alarm.code, alarm.details["step"]) == ("collapse", 10)
    assert set(alarm.details["values"]) == {"embedding_std/local/res3", "embedding_std/global/res5"}
    assert "local/res3, global/res5" in alarm.message
    (later,) = alarms.look(15, dict.fromkeys(["embedding_std/local/res3", "embedding_std/local/res2"], 0.0))
    assert set(later.details["values"]) == {"embedding_std/local/res2"}


def test_a_batch_of_one_is_not_called_collapsed(tiny_config: Configs) -> None:
    alarms = Alarms(config=tiny_config(train__batch_size=1))
    assert not any(reasons(alarms, step, {"embedding_std/global/res5": 0.0}) for step in (0, 5000))


def test_a_term_at_chance_long_enough_is_stuck(alarms: Alarms) -> None:
    values = {"loss/l2l/res4": CHANCE}
    assert [reasons(alarms, step, values) for step in (5, 10, 14, 15, 20)] == [[], [], [], ["stuck"], []]


@pytest.mark.parametrize(("loss", "stuck"), [(CHANCE - 0.9 * STUCK_MARGIN, True), (CHANCE - 1.1 * STUCK_MARGIN, False)])
def test_what_counts_as_chance(alarms: Alarms, loss: float, stuck: bool) -> None:
    reasons(alarms, 0, {"loss/l2l/res4": loss})
    assert reasons(alarms, 10, {"loss/l2l/res4": loss}) == (["stuck"] if stuck else [])


def test_a_break_starts_the_count_again(alarms: Alarms) -> None:
    for step, loss in ((0, CHANCE), (9, 0.5), (10, CHANCE), (19, CHANCE)):
        assert not reasons(alarms, step, {"loss/l2l/res4": loss})
    assert reasons(alarms, 20, {"loss/l2l/res4": CHANCE}) == ["stuck"]


def test_a_stop_neither_repeats_an_alarm_nor_begins_its_patience_anew(tiny_config: Configs, alarms: Alarms) -> None:
    """Cut at any step and gone on from its state, told is what an undisturbed run tells."""
    values = {"embedding_std/global/res5": 0.0, "loss/l2l/res4": CHANCE}
    told = [reasons(alarms, step, values) for step in range(0, 40, 5)]
    assert sum(map(len, told)) == 2
    for cut in range(len(told)):
        before, after = (Alarms(config=tiny_config(alarms__stuck_steps=10), clock=Clock()) for _ in range(2))
        found = [reasons(before, step, values) for step in range(0, 5 * cut, 5)]
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert found + [reasons(after, step, values) for step in range(5 * cut, 40, 5)] == told


def test_waiting_for_data_must_go_on_to_be_told(alarms: Alarms) -> None:
    clock = alarms.clock
    assert isinstance(clock, Clock)
    assert not reasons(alarms, 1, {"data_wait": 0.9})
    clock.now = STARVATION_SECONDS - 1
    assert not reasons(alarms, 2, {"data_wait": 0.9})
    clock.now = STARVATION_SECONDS
    (alarm,) = alarms.look(3, {"data_wait": 0.9})
    assert alarm.code == "data_starvation"
    assert "90%" in alarm.message
    assert "data.workers (now 0)" in alarm.message
    assert not reasons(alarms, 4, {"data_wait": 0.9})
    assert not reasons(alarms, 5, {"data_wait": 0.2})
    assert not reasons(alarms, 6, {"data_wait": 0.9})
    clock.now *= 2
    assert reasons(alarms, 7, {"data_wait": 0.9}) == ["data_starvation"]


def test_zero_switches_an_alarm_off(tiny_config: Configs) -> None:
    clock = Clock()
    off = tiny_config(alarms__collapse_std=0, alarms__stuck_steps=0, alarms__data_wait=0)
    alarms = Alarms(config=off, clock=clock)
    values = {"embedding_std/global/res5": 0.0, "loss/g2g/res5": CHANCE, "data_wait": 1.0}
    for step in (1, 5000):
        clock.now += 2 * STARVATION_SECONDS
        assert not reasons(alarms, step, values)
