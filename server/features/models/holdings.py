"""What this server holds and what it should: plain bookkeeping under one lock, which nothing slow ever holds."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from server.features.models.bounds import Bounds
from server.features.models.catalog import VersionRef, Wanted
from server.features.models.loaded import Loaded
from server.features.models.selector import Selector
from server.features.models.shelf import Index


@dataclass(frozen=True, slots=True)
class AliasState:
    """One alias as seen from this server."""

    alias: str
    """`name@alias`"""
    wanted: VersionRef
    served: VersionRef | None
    provider: str | None
    """That `served` runs on."""
    failure: str | None
    """Why the wanted version could not be loaded."""


class Holdings:
    """Versions wanted, models loaded, and which of them serves each alias."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._wanted = Wanted({})
        self._withheld: set[str] = set()
        """Models that are not served here although the records want them to be."""
        self._left_out = Wanted({})
        """Their aliases and pins, as last heard."""
        self._served: dict[str, Loaded] = {}
        self._loaded: dict[VersionRef, Loaded] = {}
        self._expected: Counter[VersionRef] = Counter()
        """Versions that somebody waits for."""

    @property
    def wanted(self) -> Wanted:
        """The aliases and pins as last heard."""
        with self._lock:
            return self._wanted

    def want(self, wanted: Wanted) -> None:
        with self._lock:
            self._divide(wanted)

    def withhold(self, model: str, *, withheld: bool) -> None:
        """Leave a model out of what is wanted, or no longer: then it is wanted at once as it was last heard to be."""
        with self._lock:
            (self._withheld.add if withheld else self._withheld.discard)(model)
            heard, left_out = self._wanted, self._left_out
            aliases, pinned = {**heard.aliases, **left_out.aliases}, heard.pinned | left_out.pinned
            self._divide(Wanted(aliases, pinned, heard.deleted))

    @property
    def left_out(self) -> dict[str, VersionRef]:
        """The aliases of the models that are withheld."""
        with self._lock:
            return dict(self._left_out.aliases)

    def is_withheld(self, model: str) -> bool:
        with self._lock:
            return model in self._withheld

    def take_in(self, loaded: Loaded) -> Loaded:
        """Add a loaded model; returns the one to use, should two loads of a version ever have crossed."""
        with self._lock:
            return self._loaded.setdefault(loaded.version, loaded)

    def settle(self, before: Index) -> tuple[list[Loaded], Index]:
        """Serve each alias by the version wanted if it is loaded, else as before.

        Returns the models to retire, the least recently used over the bound; and the state to take up after a restart,
        which keeps from the one `before` what is still wanted and not loaded yet, or withheld: a restart ends that.
        """
        with self._lock:
            aliases = self._wanted.aliases
            self._served = {
                alias: model
                for alias, version in aliases.items()
                if (model := self._loaded.get(version) or self._served.get(alias)) is not None
            }
            surplus = self._surplus()
            for loaded in surplus:
                del self._loaded[loaded.version]
            known = {*aliases, *self._left_out.aliases}
            kept = {alias: version for alias, version in before.aliases.items() if alias in known}
            served = {alias: model.version for alias, model in self._served.items()}
            pins = self._wanted.pinned | self._left_out.pinned
            pinned = {v for v in pins if v in self._loaded or v in before.pinned}
            return surplus, Index(kept | served, tuple(sorted(pinned, key=str)))

    @contextmanager
    def expecting(self, version: VersionRef) -> Iterator[None]:
        """Do not let go of a version for as long as the block runs: others may arrive before who waits can hold it."""
        with self._lock:
            self._expected[version] += 1
        try:
            yield
        finally:
            with self._lock:
                self._expected[version] -= 1
                self._expected += Counter()  # leaves out those at nothing

    def hold(self, selector: Selector, version: VersionRef | None = None) -> Loaded | None:
        """The model a selector names, in use by the caller from here on; None when it is not loaded.

        `version`: what the selector was found to name, for an alias that no version serves yet.
        """
        with self._lock:
            found = self._served.get(selector.key) if selector.alias else self._numbered(selector)
            if found is None and version is not None:
                found = self._loaded.get(version)
            return found if found is not None and found.hold() else None

    def find(self, selector: Selector) -> VersionRef | None:
        """The version a selector names, as far as is known here."""
        with self._lock:
            if selector.alias:
                return self._wanted.aliases.get(selector.key)
            known = (*self._wanted.aliases.values(), *self._wanted.pinned, *self._loaded)
            return next((version for version in known if selector.names(version) and not self._is_gone(version)), None)

    def loaded(self, version: VersionRef) -> Loaded | None:
        with self._lock:
            return self._loaded.get(version)

    def all(self) -> list[Loaded]:
        """Every loaded model."""
        with self._lock:
            return list(self._loaded.values())

    def unserved(self) -> list[VersionRef]:
        """Versions of aliases that nothing serves yet."""
        with self._lock:
            return [version for alias, version in self._wanted.aliases.items() if alias not in self._served]

    def states(self, failure: Callable[[VersionRef], str | None]) -> list[AliasState]:
        """Every alias, wanted and served."""
        with self._lock:
            pairs = [
                (alias, version, self._served.get(alias)) for alias, version in sorted(self._wanted.aliases.items())
            ]
        return [
            AliasState(alias, version, m.version if m else None, m.identity.provider if m else None, failure(version))
            for alias, version, m in pairs
        ]

    def gone(self) -> set[str]:
        """Ids of deleted versions that nothing here uses any more."""
        with self._lock:
            return {*self._wanted.deleted} - {version.id for version in self._loaded}

    def clear(self) -> list[Loaded]:
        """Forget everything; returns what was loaded."""
        with self._lock:
            loaded = list(self._loaded.values())
            self._loaded, self._served = {}, {}
            return loaded

    def _divide(self, wanted: Wanted) -> None:
        self._left_out = self._part(wanted, withheld=True)
        self._wanted = replace(self._part(wanted, withheld=False), deleted=wanted.deleted)

    def _part(self, wanted: Wanted, *, withheld: bool) -> Wanted:
        """Of what is wanted, the models that are withheld, or the others."""
        aliases = {a: version for a, version in wanted.aliases.items() if (version.model in self._withheld) is withheld}
        return Wanted(aliases, frozenset(v for v in wanted.pinned if (v.model in self._withheld) is withheld))

    def _numbered(self, selector: Selector) -> Loaded | None:
        numbered = (model for version, model in self._loaded.items() if selector.names(version))
        return next((model for model in numbered if not self._is_gone(model.version)), None)

    def _is_gone(self, version: VersionRef) -> bool:
        return version.id in self._wanted.deleted

    def _surplus(self) -> list[Loaded]:
        """All that is withheld or deleted, and the least recently used over the bounds; never one that is wanted,
        serves or is waited for, nor the newest of the others.
        """
        kept = {*self._wanted.aliases.values(), *self._wanted.pinned, *(m.version for m in self._served.values())}
        free = [model for version, model in self._loaded.items() if version not in kept]
        unloaded = [m for m in free if m.version.model in self._withheld or self._is_gone(m.version)]
        held = [model for model in self._loaded.values() if model not in unloaded]
        return [*unloaded, *self._bounds.over(held, [model for model in free if model in held], self._expected)]
