"""The models of this server: follows the catalogue, loads beside the old, swaps, and lets the old one finish.

Threads: one follows the catalogue, a few load, requests come from the event loop; `Holdings` and `Loader` guard what
they share.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from control.errors import Forbidden
from detco_core.contract.errors import BundleError
from detco_core.inference.execution import Execution
from server.features.bounds import Bounds
from server.features.catalog import Catalog, VersionRef, Wanted
from server.features.errors import ModelUnavailable, UnknownModel
from server.features.holdings import AliasState, Holdings
from server.features.loaded import Loaded
from server.features.loader import Loader
from server.features.selector import Selector, default_selector, read_selector
from server.features.shelf import Index, Shelf
from server.features.waiting import Batching

log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds."""
_ASKERS = 2
"""Questions about versions that are not loaded, at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingOptions:
    """How models are held."""

    folder: Path
    """`DATA_DIR/serving`"""
    default_model: str | None = None
    max_loaded: int = 4
    """Versions held at once; those an alias names or a consumer pinned are always held, and count."""
    max_bytes: int | None = None
    """Of their weights, in the same way; None: any number."""
    ahead: int = 2
    """Decoded images that may wait for one model."""
    poll_seconds: float = 1.0
    """Between two looks at the catalogue."""
    execution: Execution = field(default_factory=Execution)
    batching: Batching = field(default_factory=Batching)


class Models:
    """Everything loaded, and what should be; between `start` and `close`."""

    def __init__(self, catalog: Catalog, options: ServingOptions) -> None:
        self.catalog = catalog
        self.options = options
        self._shelf = Shelf(options.folder)
        self._holdings = Holdings(Bounds(models=options.max_loaded, bytes=options.max_bytes))
        self._loader = Loader(self._open, self._arrived)
        self._written = Index()
        """What the disk holds."""
        self._unwritten = False
        """The last try to write it failed."""
        self._leaving: list[Loaded] = []
        """Let go, and perhaps still in use."""
        self._looking = threading.Lock()
        self._settling = threading.Lock()
        self._looked = threading.Event()
        self._stop = threading.Event()
        # Threads of their own: a catalogue that does not answer must hold up nobody who asks for what is loaded.
        self._asking = ThreadPoolExecutor(_ASKERS, "ask-catalogue")
        self._down: str | None = None
        """Why the catalogue could not be asked last."""
        self._follower = threading.Thread(target=self._follow, name="follow-aliases", daemon=True)

    def start(self) -> None:
        """Take up what was served last, then follow the catalogue; returns at once."""
        self._follower.start()

    def close(self) -> None:
        """Stop following and loading, and let every model finish what it was given."""
        self._stop.set()
        if self._follower.ident is not None:
            # It may hang in a question to a database that does not answer; nothing waits for its answer any more.
            self._follower.join(_PATIENCE)
        self._asking.shutdown(wait=False, cancel_futures=True)
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
        selector = self._selected(named)
        if only is not None and selector.model not in only:
            raise Forbidden(f"this token is limited to the models {', '.join(sorted(only))}")
        loaded = self._holdings.hold(selector)
        while loaded is None:
            version = await self._found(selector)
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
        version = self._find(Selector(model, number=number))
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
        return self._looked.is_set() and all(self._failure(version) for version in self._holdings.unserved())

    # Choosing

    def _selected(self, named: str | None) -> Selector:
        if named is not None:
            return read_selector(named)
        # A model that was let go of is named no less: another does not become the default by it.
        aliases = {*self._holdings.wanted.aliases, *self._holdings.left_out}
        return default_selector(self.options.default_model, aliases)

    async def _found(self, selector: Selector) -> VersionRef:
        """As `_find`; when the catalogue has to be asked, off the event loop, and not while it is known to be away."""
        known = self._holdings.is_withheld(selector.model) or self._holdings.find(selector) is not None
        if selector.number is None or known:
            return self._find(selector)
        if self._down is not None:
            raise _unasked(selector, self._down)
        return await asyncio.get_running_loop().run_in_executor(self._asking, self._find, selector)

    def _find(self, selector: Selector) -> VersionRef:
        """What a selector names, from what is known here, else from the catalogue."""
        if self._holdings.is_withheld(selector.model):
            remedy = "load it there, or promote a version of it"
            raise ModelUnavailable(f"the model {selector.model} was unloaded from this server: {remedy}")
        version = self._holdings.find(selector) or self._ask(selector)
        if version is not None:
            return version
        if not self._looked.is_set():
            raise ModelUnavailable("this server is starting and does not know its models yet")
        kind = "alias" if selector.alias else "version that is ready"
        aliases = ", ".join(sorted(self._holdings.wanted.aliases)) or "none"
        raise UnknownModel(f"there is no {kind} {selector}; aliases served here: {aliases}")

    def _ask(self, selector: Selector) -> VersionRef | None:
        if selector.number is None:
            return None
        try:
            return self.catalog.find(selector.model, selector.number)
        # A catalogue may raise anything while its source is down.
        except Exception as error:
            raise _unasked(selector, error) from error

    # Loading

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
        return Loaded.open(version, bundle, options.execution, options.ahead, options.batching)

    def _arrived(self, loaded: Loaded) -> Loaded:
        kept = self._holdings.take_in(loaded)
        if kept is not loaded:
            loaded.retire()
        self._settle()
        return kept

    def _failure(self, version: VersionRef) -> str | None:
        failure = self._loader.failure(version)
        return failure.reason if failure else None

    # Following

    def _follow(self) -> None:
        self._restore()
        while not self._stop.is_set():
            try:
                self.refresh()
                self._note(None)
            # A catalogue may raise anything while its source is down; what is loaded goes on serving.
            except Exception as error:  # noqa: BLE001 - the reason is above
                self._note(error)
            self._looked.set()
            self._stop.wait(self.options.poll_seconds)

    def _restore(self) -> None:
        """Take up the last good state; the catalogue corrects it a moment later, if it can be asked."""
        self._written = self._shelf.read_index()
        self._tidy()
        self._holdings.want(Wanted(dict(self._written.aliases), frozenset(self._written.pinned)))
        self._follow_up()

    def _note(self, error: Exception | None) -> None:
        if error and not self._down:
            log.warning("the records cannot be asked; serving goes on with what is here: %s", error)
        if self._down and not error:
            log.info("the records can be asked again")
        # Its words alone: the error itself holds the frames it came through.
        self._down = None if error is None else str(error) or type(error).__name__

    def _follow_up(self) -> None:
        wanted = self._holdings.wanted
        for version in {*wanted.aliases.values(), *wanted.pinned}:
            if not self._loader.backing_off(version):
                self._load(version)
        self._settle()

    def _settle(self) -> None:
        with self._settling:
            retired, index = self._holdings.settle(self._written)
            if index != self._written and self._write(index):
                self._tidy()
            for loaded in retired:
                log.info("%s is let go", loaded.version)
                loaded.retire()
            self._let_go(retired)
        self._shelf.discard(self._holdings.gone())

    def _let_go(self, retired: list[Loaded]) -> None:
        """Remove the bundles of what was let go, once nobody uses it, who might open another part of it."""
        leaving = [*self._leaving, *retired]
        self._leaving = [loaded for loaded in leaving if not loaded.is_closed]
        needed = self._needed()
        self._shelf.discard({one.version.id for one in leaving if one.is_closed and one.version not in needed})

    def _needed(self) -> set[VersionRef]:
        """Versions whose bundles are used here, or would be after a restart."""
        # In this order: what is not under way any more is loaded by now.
        under_way, loaded = self._loader.under_way, (model.version for model in self._holdings.all())
        return {*under_way, *loaded, *self._written.aliases.values(), *self._written.pinned}

    def _write(self, index: Index) -> bool:
        """Whether it could be done; if not, it is tried again."""
        try:
            self._shelf.write_index(index)
        except OSError as error:
            if not self._unwritten:
                log.warning(
                    "the index of served models cannot be written; a restart would take up older ones: %s", error
                )
            self._unwritten = True
            return False
        if self._unwritten:
            log.info("the index of served models can be written again")
        self._written, self._unwritten = index, False
        return True

    def _tidy(self) -> None:
        try:
            self._shelf.prune(self._needed())
        except OSError as error:  # another process of this machine tidies too
            log.info("bundles that nobody needs stay for now: %s", error)


def _unasked(selector: Selector, why: object) -> ModelUnavailable:
    return ModelUnavailable(f"{selector} is not loaded here, and the records cannot be asked: {why}"[:500])
