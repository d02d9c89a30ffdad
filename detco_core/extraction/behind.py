"""Writes one shard while the next is computed: digests, disks and their syncs keep no network waiting."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

from detco_core.contract.extractions.files import ShardFiles
from detco_core.contract.reader import canonical_json
from detco_core.extraction.shards import Shard


class Written(NamedTuple):
    """A shard that is on disk, whole."""

    files: ShardFiles
    broken: list[str]
    """Lines of its images without features."""


class WrittenBehind:
    """At most one shard is being written, so memory holds two. For one thread; leaving waits for what is under way."""

    def __init__(self, write: Callable[[Shard], ShardFiles]) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._under_way: Future[Written] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def begin(self, shard: Shard) -> None:
        """Have it written; the one before was taken."""
        self._under_way = self._pool.submit(self._written, shard)

    def take(self, *, wait: bool) -> list[Written]:
        """The shard that is on disk by now (`wait`: that was begun), once; none where there is none.

        Raises what writing it raised.
        """
        if self._under_way is None or not (wait or self._under_way.done()):
            return []
        written = self._under_way.result()
        # Not before: who is interrupted while waiting asks for what is left.
        self._under_way = None
        return [written]

    def left(self) -> list[Written]:
        """The same of one who leaves early, and has a reason of his own to raise."""
        if self._under_way is None or self._under_way.exception() is not None:
            return []
        return self.take(wait=True)

    def _written(self, shard: Shard) -> Written:
        files = self._write(shard)
        return Written(files, [canonical_json(one.entry) for one in shard.images if one.entry.error is not None])
