"""The queues against lists that are written one key at a time."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detco_core.method.queues import Queues, whole_batch
from detco_core.nets.encoder import Embeddings


def keys(stages: int, count: int, dim: int, value: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.full((count, dim), value + 0.001 * stage) for stage in range(stages))


def test_starts_with_random_directions() -> None:
    queues = Queues(global_stages=4, local_stages=4, size=32, dim=8)
    assert queues.globals.shape == queues.locals.shape == (4, 32, 8)
    assert torch.allclose(queues.globals.norm(dim=2), torch.ones(4, 32))
    assert not torch.equal(queues.globals, queues.locals)
    assert queues.pointer.item() == 0


@given(st.integers(1, 12), st.lists(st.integers(1, 6), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_equals_a_list_written_one_key_at_a_time(extra: int, counts: list[int]) -> None:
    size, stages, dim = 6 + extra, 2, 3
    queues = Queues(global_stages=stages, local_stages=stages, size=size, dim=dim)
    expected = [
        [list(bank[stage]) for stage in range(stages)] for bank in (queues.globals.clone(), queues.locals.clone())
    ]
    place = 0
    for step, count in enumerate(counts, start=1):
        batch = Embeddings(keys(stages, count, dim, step), keys(stages, count, dim, -step))
        queues.enqueue(batch)
        for n in range(count):
            for stage in range(stages):
                expected[0][stage][(place + n) % size] = batch.globals[stage][n]
                expected[1][stage][(place + n) % size] = batch.locals[stage][n]
        place = (place + count) % size
    assert queues.pointer.item() == place
    for bank, lists in zip((queues.globals, queues.locals), expected, strict=True):
        assert torch.equal(bank, torch.stack([torch.stack(entries) for entries in lists]))


def test_a_kind_nobody_contrasts_with_has_no_queue() -> None:
    queues = Queues(global_stages=1, local_stages=0, size=8, dim=4)
    queues.enqueue(Embeddings(keys(1, 4, 4, 1.0), ()))
    assert queues.locals.shape == (0, 8, 4)
    assert queues.pointer.item() == 4


def test_is_state_that_is_saved() -> None:
    one, other = (Queues(global_stages=2, local_stages=1, size=8, dim=4) for _ in range(2))
    one.enqueue(Embeddings(keys(2, 3, 4, 1.0), keys(1, 3, 4, 2.0)))
    other.load_state_dict(one.state_dict())
    assert set(one.state_dict()) == {"globals", "locals", "pointer"}
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_micro_batches_of_several_processes_come_back_in_batch_order(processes: int, cuts: int, at_once: int) -> None:
    share = cuts * at_once
    batch = torch.arange(float(processes * share)).reshape(-1, 1)
    parts = []
    for cut in range(cuts):
        rows = [batch[process * share + cut * at_once + n] for process in range(processes) for n in range(at_once)]
        parts.append(Embeddings((torch.stack(rows),), (-torch.stack(rows), torch.stack(rows))))
    joined = whole_batch(parts, processes)
    assert torch.equal(joined.globals[0], batch)
    assert torch.equal(joined.locals[0], -batch)
    assert torch.equal(joined.locals[1], batch)
