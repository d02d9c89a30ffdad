"""Which images run together, and when: whatever is put in comes out once, oldest first, in batches of one kind."""

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.features.waiting import Batching, Entry, Waiting


def entry(side: int = 4, output: str = "a", seconds: float = 100.0) -> Entry:
    return Entry(np.zeros((1, 3, side, side), np.float32), (output,), time.monotonic() + seconds)


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.sampled_from([4, 8]), st.sampled_from("ab")), max_size=30),
    gone=st.sets(st.integers(0, 29)),
    images=st.integers(1, 5),
)
def test_every_wanted_entry_comes_once_with_its_like(kinds: list[tuple[int, str]], gone: set[int], images: int) -> None:
    waiting = Waiting(Batching(images=images))
    entries = [entry(*kind) for kind in kinds]
    for one in entries:
        waiting.put(one)
    for number in gone & set(range(len(entries))):
        entries[number].future.cancel()
    waiting.close()
    left = [one for one in entries if not one.future.cancelled()]
    while (batch := waiting.next_batch()) is not None:
        assert batch[0] is left[0]
        assert batch == [one for one in left if one.kind == batch[0].kind][:images]
        left = [one for one in left if one not in batch]
        assert waiting.begin(batch) == batch
        waiting.done()
    assert not left
    assert waiting.dropped == len(gone & set(range(len(entries))))


def test_a_lonely_image_waits_for_others_from_when_it_came() -> None:
    waiting = Waiting(Batching(images=2, seconds=0.05))
    lonely = entry()
    waiting.put(lonely)
    assert waiting.next_batch() == [lonely]
    assert time.monotonic() >= lonely.arrived + 0.05


def test_one_that_has_waited_already_waits_no_more() -> None:
    waiting = Waiting(Batching(images=2, seconds=10_000.0))  # the test would not end
    now = time.monotonic()
    old = Entry(np.zeros((1, 3, 4, 4), np.float32), ("a",), now + 100, arrived=now - 10_000)
    waiting.put(old)
    assert waiting.next_batch() == [old]


def test_one_that_is_alone_passes_by_and_the_next_waits_for_it() -> None:
    waiting = Waiting(Batching(), ahead=0)
    assert waiting.pass_by()
    assert not waiting.pass_by()
    waiting.done()
    first = entry()
    waiting.put(first)
    assert not waiting.pass_by()
    assert waiting.next_batch() == [first]
    assert not waiting.pass_by()
    waiting.done()
    waiting.close()
    assert not waiting.pass_by()
    assert not Waiting(Batching(images=2)).pass_by()
