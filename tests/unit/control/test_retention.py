from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from control.retention import BEST, EVERY, LATEST, PINNED, RESUME, Candidate, Policy, reasons

CHECKPOINTS = st.lists(
    st.builds(
        Candidate,
        id=st.just(""),
        epoch=st.floats(0, 40),
        score=st.none() | st.floats(-1, 1) | st.just(float("nan")),
        pinned=st.booleans(),
        damaged=st.sampled_from([False, False, False, True]),
        held_by=st.sampled_from([(), (), ("model version a:1",), ("run run_1", "evaluation run_2")]),
    ),
    max_size=12,
).map(lambda found: [replace(one, id=f"c{n}") for n, one in enumerate(sorted(found, key=lambda c: -c.epoch))])
POLICIES = st.builds(
    Policy, best=st.integers(0, 4), latest=st.integers(1, 4), every_epochs=st.sampled_from([0.0, 0.5, 3.0, 10.0])
)


def kept(checkpoints: list[Candidate], policy: Policy, *, goes_on: bool = False) -> list[Candidate]:
    why = reasons(checkpoints, policy, goes_on=goes_on)
    return [one for one in checkpoints if why[one.id]]


@given(CHECKPOINTS, POLICIES, st.booleans())
def test_what_is_needed_always_stays(checkpoints: list[Candidate], policy: Policy, goes_on: bool) -> None:
    why = reasons(checkpoints, policy, goes_on=goes_on)
    for one in checkpoints:
        assert set(one.held_by) <= set(why[one.id])
        assert (PINNED in why[one.id]) == one.pinned
        assert why[one.id] or not one.damaged
    sound = [one for one in checkpoints if not one.damaged]
    assert all(why[one.id] for one in sound[: policy.latest])
    assert not sound or (RESUME in why[sound[0].id]) == goes_on


@given(CHECKPOINTS, POLICIES)
def test_what_stayed_stays(checkpoints: list[Candidate], policy: Policy) -> None:
    """Looking again after the others are gone changes nothing: nobody loses its place to itself."""
    once = kept(checkpoints, policy)
    assert kept(once, policy) == once


@given(CHECKPOINTS, POLICIES)
def test_no_more_is_kept_than_was_asked_for(checkpoints: list[Candidate], policy: Policy) -> None:
    why = reasons(checkpoints, policy, goes_on=False)
    counts = {word: sum(word in found for found in why.values()) for word in (BEST, LATEST)}
    assert counts[BEST] <= policy.best
    assert counts[LATEST] <= policy.latest


def test_the_union() -> None:
    epochs = [1.0, 2.5, 3.0, 4.5, 5.0, 6.0, 7.5]
    scores = [0.1, 0.9, 0.5, None, 0.2, 0.9, 0.3]
    newest_first = [
        Candidate(id=str(epoch), epoch=epoch, score=score) for epoch, score in zip(epochs, scores, strict=True)
    ][::-1]
    why = reasons(newest_first, Policy(best=2, latest=2, every_epochs=2.0), goes_on=True)
    assert why == {
        "7.5": (LATEST, RESUME),
        "6.0": (LATEST, BEST, EVERY),
        "5.0": (),
        "4.5": (EVERY,),
        "3.0": (),
        "2.5": (BEST, EVERY),
        "1.0": (),
    }


def test_a_damaged_one_takes_nobodys_place() -> None:
    newest = Candidate(id="new", epoch=2.0, score=1.0, damaged=True)
    older = Candidate(id="old", epoch=1.0, score=0.5)
    why = reasons([newest, older], Policy(best=1, latest=1), goes_on=True)
    assert why == {"new": ("damaged",), "old": (LATEST, BEST, RESUME)}


def test_a_policy_is_changed_by_what_is_said() -> None:
    assert Policy(latest=3).changed({"best": 0, "latest": None}) == Policy(best=0, latest=3)
    assert Policy().changed(None) == Policy()


def test_epochs_are_counted_with_their_rounding() -> None:
    total = sum([0.1] * 30)
    assert kept([Candidate(id="a", epoch=total - 0.1), Candidate(id="b", epoch=total)], Policy(every_epochs=3.0))
    why = reasons(
        [Candidate(id="b", epoch=total), Candidate(id="a", epoch=total - 0.1)],
        Policy(every_epochs=3.0, latest=1, best=0),
        goes_on=False,
    )
    assert why == {"b": (LATEST, EVERY), "a": ()}
