"""A bounded number of places that are taken in turn; those who may wait longer let the others pass."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Turns:
    """Places held from decode to the end of compute. Used from one event loop.

    They are given in the order they were asked for, to interactive callers before bulk ones.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._interactive: deque[asyncio.Future[None]] = deque()
        self._bulk: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, bulk: bool = False) -> AsyncIterator[None]:
        """Hold a place for as long as the block runs."""
        await self.acquire(bulk=bulk)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, *, bulk: bool = False) -> None:
        """Wait for a place, and take it; cancel to leave."""
        if self._free:
            # Who waits does so because none is free: nobody is passed over here.
            self._free -= 1
            return
        waiting = self._bulk if bulk else self._interactive
        place = asyncio.get_running_loop().create_future()
        waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                # Whoever gave a place back in between has passed it over, and taken it out.
                with suppress(ValueError):
                    waiting.remove(place)
            else:  # it was given at the very moment its waiter left
                self.release()
            raise

    def release(self) -> None:
        """Give a place back: to who waits, else to who comes."""
        for waiting in (self._interactive, self._bulk):
            while waiting:
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1
