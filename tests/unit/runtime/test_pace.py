"""How far work is, told now and then."""

from detco_core.contract.events import Progress
from detco_core.runtime.pace import Pace


def test_batches_count_when_the_next_is_asked_for_and_the_end_is_told() -> None:
    told: list[Progress] = []
    pace = Pace(5, told.append, done=1)
    for batch in pace.watch(iter(["ab", "cd"])):
        assert len(batch) == 2
    assert [progress.step for progress in told] == [3, 5]
    assert told[-1].steps == 5
    assert told[-1].eta_seconds == 0


def test_it_does_not_tell_twice_in_a_moment() -> None:
    told: list[Progress] = []
    pace = Pace(5, told.append)
    pace.say()
    pace.say_again()
    pace.count(1)
    assert len(told) == 1
