"""Places in turn: none is lost, interactive callers pass bulk ones, nobody of a kind passes another."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.features.turns import Turns


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def others(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_interactive_callers_pass_bulk_ones_and_nobody_else_is_passed() -> None:
    turns, order = Turns(1), []

    async def one(name: str, *, bulk: bool) -> None:
        async with turns.turn(bulk=bulk):
            order.append(name)
            await others(1)

    await turns.acquire()
    tasks = [asyncio.ensure_future(one(name, bulk=name[0] == "b")) for name in ("b1", "b2", "i1", "i2")]
    await others()
    turns.release()
    await asyncio.gather(*tasks)
    assert order == ["i1", "i2", "b1", "b2"]


@pytest.mark.anyio
async def test_who_leaves_while_a_place_is_given_to_him_passes_it_on() -> None:
    turns = Turns(1)
    await turns.acquire()
    first, second = (asyncio.ensure_future(turns.acquire()) for _ in range(2))
    await others()
    turns.release()
    first.cancel()  # the place is his, and he does not know yet
    await asyncio.wait_for(second, 5)
    turns.release()
    await asyncio.wait_for(turns.acquire(), 5)


@given(steps=st.lists(st.sampled_from(["come", "bulk", "leave", "done", "run"]), max_size=40), places=st.integers(1, 3))
def test_no_place_is_lost_or_made(steps: list[str], places: int) -> None:
    async def play() -> None:
        turns, tasks, inside = Turns(places), [], [0]
        gate = asyncio.Semaphore(0)

        async def one(*, bulk: bool) -> None:
            async with turns.turn(bulk=bulk):
                inside[0] += 1
                assert inside[0] <= places
                try:
                    await gate.acquire()
                finally:
                    inside[0] -= 1

        for step in steps:
            if step in ("come", "bulk"):
                tasks.append(asyncio.ensure_future(one(bulk=step == "bulk")))
            elif step == "leave" and tasks:
                tasks[len(tasks) // 2].cancel()
            elif step == "done":
                gate.release()
            else:
                await others(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(places):
            await asyncio.wait_for(turns.acquire(), 5)

    asyncio.run(play())
