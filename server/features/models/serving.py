"""The models of this server: loaded beside the old ones, swapped, and let go once those who use them are done.

Threads: one follows the catalogue (`follower`), a few load (`loader`), requests come from the event loop. What they
share is guarded by `Holdings`, `Loader` and `Settler`; which version a request means is said by `choosing`.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Future
from contextlib import asynccontextmanager

from control.errors import Forbidden
from detco_core.contract.errors import BundleError
from server.features.errors import ModelUnavailable
from server.features.models.bounds import Bounds
from server.features.models.catalog import Catalog, VersionRef
from server.features.models.choosing import Chooser
from server.features.models.follower import Follower
from server.features.models.holdings import AliasState, Holdings
from server.features.models.loaded import Loaded
from server.features.models.loader import Loader
from server.features.models.selector import Selector
from server.features.models.serving_options import ServingOptions
from server.features.models.settling import Settler
from server.features.models.shelf import Shelf

log = logging.getLogger(__name__)


class Models:
    """Everything loaded, and what should be; between `start` and `close`."""

    def __init__(self, catalog: Catalog, options: ServingOptions) -> None:
        self.catalog = catalog
        self.options = options
        self._shelf = Shelf(options.folder)
        self._holdings = Holdings(Bounds(models=options.max_loaded, bytes=options.max_bytes))
        self._loader = Loader(self._open, self._arrived)
        self._settler = Settler(self._holdings, self._shelf, lambda: self._loader.under_way)
        self._follower = Follower(self._restore, self.refresh, options.poll_seconds)
        self._chooser = Chooser(self._holdings, self._follower, self._ask, options.default_model)
        self._looking = threading.Lock()

    def start(self) -> None:
        """Take up what was served last, then follow the catalogue; returns at once."""
        self._follower.start()

    def close(self) -> None:
        """Stop following and loading, and let every model finish what it was given."""
        self._follower.close()
        self._chooser.close()
        self._loader.close()
        for loaded in self._holdings.clear():
            loaded.retire()

    @asynccontextmanager
    async def lease(self, named: str | None, only: Collection[str] | None = None) -> AsyncIterator[Loaded]:
        """The model a request names, held until the block ends, loaded first if need be.

        Raises:
            NoDefaultModel, UnknownModel: there is no such model.
            Forbidden: it is not among `only`.
            ModelUnavailable: it cannot be loaded, or the service is starting.
        """
        selector = self._chooser.selected(named, only)
        if only is not None and selector.model not in only:
            raise Forbidden(f"this token is limited to the models {', '.join(sorted(only))}")
        loaded = self._holdings.hold(selector)
        while loaded is None:
            version = await self._chooser.found(selector, only)
            with self._holdings.expecting(version):
                await asyncio.wrap_future(self._load(version))
                loaded = self._holdings.hold(selector, version)
        try:
            yield loaded
        finally:
            loaded.let_go()

    def ensure(self, model: str, number: int, timeout: float) -> None:
        """Have `model:number` loaded and warm; blocks.

        Raises:
            UnknownModel: there is no such version, or it is not ready.
            ModelUnavailable: it cannot be loaded, or not within `timeout` seconds.
        """
        self._holdings.withhold(model, withheld=False)
        version = self._chooser.find(Selector(model, number=number))
        try:
            self._load(version, again=True).result(timeout)
        except TimeoutError as error:
            raise ModelUnavailable(f"{version} is not loaded after {timeout:g} s; it goes on loading") from error

    def withhold(self, model: str, *, withheld: bool) -> None:
        """Let go of a model on this server although the records want it served, or no longer; blocks.

        Until then none of its versions answers here. A promotion ends it too. Raises what the catalogue raises.
        """
        self._holdings.withhold(model, withheld=withheld)
        self.refresh()

    def refresh(self) -> None:
        """Look at the catalogue now: load what is new, and serve what is loaded; raises what the catalogue raises."""
        # One at a time: an answer from before a promotion must not overwrite one from after it.
        with self._looking:
            held = {*self._shelf.ids(), *(loaded.version.id for loaded in self._holdings.all())}
            self._holdings.want(self.catalog.wanted(held))
        self._follow_up()

    def states(self) -> list[AliasState]:
        """Every alias, the version wanted and the one that serves it."""
        return self._holdings.states(self._failure)

    def withheld(self) -> dict[str, VersionRef]:
        """What is named by the aliases of the models that were let go of."""
        return self._holdings.left_out

    @property
    def failed_loads(self) -> int:
        """Since the start."""
        return self._loader.failed

    def pins_failed(self) -> dict[VersionRef, str]:
        """Pinned versions that are not held, since they could not be loaded, and why."""
        missing = (version for version in self._holdings.wanted.pinned if self._holdings.loaded(version) is None)
        return {version: why for version in missing if (why := self._failure(version)) is not None}

    def loaded(self) -> list[Loaded]:
        """Every model held now."""
        return self._holdings.all()

    @property
    def settled(self) -> bool:
        """Whether the first look is over and no alias waits for its first load."""
        return self._follower.has_looked and all(self._failure(version) for version in self._holdings.unserved())

    def _load(self, version: VersionRef, *, again: bool = False) -> "Future[Loaded]":
        loaded = self._holdings.loaded(version)
        if loaded is None:
            return self._loader.load(version, again=again)
        done: Future[Loaded] = Future()
        done.set_result(loaded)
        return done

    def _open(self, version: VersionRef) -> Loaded:
        try:
            return self._from_shelf(version)
        except BundleError as error:
            log.warning("%s on disk cannot be used and is fetched again: %s", version, error)
        # A file damaged on this machine's disk is fetched once more; one damaged at its source fails again. By now the
        # error is gone, and with it what had been opened.
        return self._from_shelf(version, anew=True)

    def _from_shelf(self, version: VersionRef, *, anew: bool = False) -> Loaded:
        bundle = self._shelf.bring(version, self.catalog.fetch, anew=anew)
        options = self.options
        try:
            return Loaded.open(version, bundle.folder, options.execution, options.ahead, options.batching, bundle.end)
        except BaseException:
            bundle.end()
            raise

    def _arrived(self, loaded: Loaded) -> Loaded:
        kept = self._holdings.take_in(loaded)
        if kept is not loaded:
            loaded.retire()
        self._settler.settle()
        return kept

    def _failure(self, version: VersionRef) -> str | None:
        failure = self._loader.failure(version)
        return failure.reason if failure else None

    def _restore(self) -> None:
        """Take up the last good state; the catalogue corrects it a moment later, if it can be asked."""
        self._holdings.want(self._settler.restore())
        self._follow_up()

    def _follow_up(self) -> None:
        wanted = self._holdings.wanted
        for version in {*wanted.aliases.values(), *wanted.pinned}:
            if not self._loader.backing_off(version):
                self._load(version)
        self._settler.settle()

    def _ask(self, model: str, number: int) -> VersionRef | None:
        return self.catalog.find(model, number)
