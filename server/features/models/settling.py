"""Brings memory and disk in line with what is wanted: swaps, lets go, writes the index, removes bundles."""

import logging
import threading
from collections.abc import Callable, Collection

from server.features.models.catalog import VersionRef, Wanted
from server.features.models.holdings import Holdings
from server.features.models.shelf import Index, Shelf

log = logging.getLogger(__name__)


class Settler:
    """What becomes of a model after it was loaded. Threads may share it."""

    def __init__(self, holdings: Holdings, shelf: Shelf, under_way: Callable[[], Collection[VersionRef]]) -> None:
        """`under_way`: tells the versions being loaded now."""
        self._holdings = holdings
        self._shelf = shelf
        self._under_way = under_way
        self._lock = threading.Lock()
        self._written = Index()
        """What the index on disk says."""
        self.is_behind = False
        """The last try to write the index failed."""
        self._leaving: set[VersionRef] = set()
        """Versions that were let go, whose bundles are perhaps still in use: here, or by another server."""

    def restore(self) -> Wanted:
        """The last good state of this server; bundles that are no part of it are removed."""
        with self._lock:
            self._written = self._shelf.read_index()
            self._tidy()
            return Wanted(dict(self._written.aliases), frozenset(self._written.pinned))

    def settle(self) -> None:
        """Serve each alias by the version wanted if it is loaded, and let go of what nobody needs any more."""
        with self._lock:
            retired, index = self._holdings.settle(self._written)
            self._leaving |= {loaded.version for loaded in retired}
            if index != self._written and self._write(index):
                self._tidy()
            for loaded in retired:
                log.info("%s is let go", loaded.version)
                loaded.retire()
            self._remove_bundles()
        self._shelf.discard(self._holdings.gone())

    def _remove_bundles(self) -> None:
        """Of versions that were let go; who is not done with one may open another part of the network from it yet."""
        unneeded = self._leaving - self._needed()
        stay = self._shelf.discard({version.id for version in unneeded})
        self._leaving -= {version for version in unneeded if version.id not in stay}

    def _needed(self) -> set[VersionRef]:
        """Versions whose bundles are used here, or would be after a restart."""
        # In this order: a load that is not under way any more has arrived among what is held.
        under_way, loaded = self._under_way(), (model.version for model in self._holdings.all())
        after_a_restart = (*self._written.aliases.values(), *self._written.pinned)
        return {*under_way, *loaded, *after_a_restart}

    def _write(self, index: Index) -> bool:
        """Whether it could be done; if not, it is tried again when things settle next."""
        try:
            self._shelf.write_index(index)
        except OSError as error:
            if not self.is_behind:
                log.warning(
                    "the index of served models cannot be written; a restart would take up older ones: %s", error
                )
            self.is_behind = True
            return False
        if self.is_behind:
            log.info("the index of served models can be written again")
        self._written, self.is_behind = index, False
        return True

    def _tidy(self) -> None:
        """Remove every bundle that is not needed."""
        try:
            self._shelf.prune(self._needed())
        except OSError as error:  # another process of this machine tidies too
            log.info("bundles that nobody needs stay for now: %s", error)
