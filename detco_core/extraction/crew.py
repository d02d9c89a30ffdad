"""Threads that work ahead of whoever takes their results, which come in the order of what they were given."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class Crew(Generic[Given, Made]):
    """`threads` that do one `work`; at most `ahead` of its results are under way or wait beside the one taken."""

    def __init__(
        self,
        work: Callable[[Given], Made],
        threads: int,
        ahead: int,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._threads = threads
        self._ahead = ahead
        self._name = name
        self._clock = clock
        self._ended = clock()
        """When something was last done."""
        self._starved = 0.0

    def results(self, things: Iterable[Given]) -> Generator[Made]:
        """The work of each of the things, which are asked for in the caller's thread.

        Raises what asking and working raise. Closed before its end, it waits for what is under way and begins no more.
        """
        under_way: deque[Future[Made]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
        try:
            for thing in self._awaited(iter(things), under_way):
                under_way.append(pool.submit(self._do, thing))
                if len(under_way) > self._ahead:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def starved(self) -> float:
        """Seconds since this was last asked in which nothing was under way, for want of things."""
        seconds, self._starved = self._starved, 0.0
        return seconds

    def _do(self, thing: Given) -> Made:
        try:
            return self._work(thing)
        finally:
            self._ended = self._clock()

    def _awaited(self, things: Iterator[Given], under_way: Iterable[Future[Made]]) -> Iterator[Given]:
        while True:
            began = self._clock()
            try:
                thing = next(things)
            except StopIteration:
                return
            if all(future.done() for future in under_way):
                self._starved += max(0.0, self._clock() - max(began, self._ended))
            yield thing
