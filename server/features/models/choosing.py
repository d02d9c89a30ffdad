"""Which version a request means: found in what is known here, else asked of the catalogue."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from server.features.errors import ModelUnavailable, NoDefaultModel, UnknownModel
from server.features.models.catalog import VersionRef
from server.features.models.follower import Follower
from server.features.models.holdings import Holdings
from server.features.models.selector import Selector, default_selector, read_selector

_ASKERS = 2
"""Questions to the catalogue about versions that are not known here, at once."""

Ask = Callable[[str, int], VersionRef | None]
"""Asks the catalogue for a version by model and number; raises anything while its source is down."""


class Chooser:
    """From what a request names to a version; until `close`.

    `only` are the names a caller may use (None: all): an error tells of no others.
    """

    def __init__(self, holdings: Holdings, follower: Follower, ask: Ask, default_model: str | None) -> None:
        self._holdings = holdings
        self._follower = follower
        self._ask = ask
        self._default_model = default_model
        # Threads of their own: a catalogue that does not answer must hold up nobody who asks for what is loaded.
        self._threads = ThreadPoolExecutor(_ASKERS, "ask-catalogue")

    def close(self) -> None:
        """Drop the questions that have not begun; one that hangs is left alone."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def selected(self, named: str | None, only: Collection[str] | None = None) -> Selector:
        """What a request names, or the default.

        Raises:
            UnknownModel: the name cannot be one.
            NoDefaultModel: it names none, and there is no default.
        """
        if named is not None:
            return read_selector(named)
        # The aliases of unloaded models count: unloading one of two models must not make the other the default.
        aliases = {*self._holdings.wanted.aliases, *self._holdings.left_out}
        try:
            return default_selector(self._default_model, aliases)
        except NoDefaultModel as error:
            raise NoDefaultModel([name for name in error.names if only is None or name in only]) from None

    async def found(self, selector: Selector, only: Collection[str] | None = None) -> VersionRef:
        """As `find`; when the catalogue has to be asked, off the event loop, and not while it is known to be away."""
        known = self._holdings.is_withheld(selector.model) or self._holdings.find(selector) is not None
        if selector.number is None or known:
            return self.find(selector, only)
        if self._follower.down is not None:
            raise _unasked(selector, self._follower.down)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.find, selector, only)

    def find(self, selector: Selector, only: Collection[str] | None = None) -> VersionRef:
        """The version a selector names, from what is known here, else from the catalogue; may block.

        Raises:
            UnknownModel: there is none.
            ModelUnavailable: it was unloaded here, or whether there is one cannot be told now.
        """
        if self._holdings.is_withheld(selector.model):
            remedy = "load it there, or promote a version of it"
            raise ModelUnavailable(f"the model {selector.model} was unloaded from this server: {remedy}")
        version = self._holdings.find(selector) or self._asked(selector)
        if version is not None:
            return version
        if not self._follower.has_looked:
            raise ModelUnavailable("this server is starting and does not know its models yet")
        known = (alias for alias in self._holdings.wanted.aliases if only is None or alias.partition("@")[0] in only)
        aliases = ", ".join(sorted(known)) or "none"
        missing = f"alias {selector}" if selector.alias else f"version {selector} that is ready"
        raise UnknownModel(f"there is no {missing}; aliases served here: {aliases}")

    def _asked(self, selector: Selector) -> VersionRef | None:
        """What the catalogue says of a version; of aliases the follower has heard all there is to know."""
        if selector.number is None:
            return None
        try:
            return self._ask(selector.model, selector.number)
        # A catalogue may raise anything while its source is down.
        except Exception as error:
            raise _unasked(selector, error) from error


def _unasked(selector: Selector, why: object) -> ModelUnavailable:
    return ModelUnavailable(f"{selector} is not loaded here, and the records cannot be asked: {why}"[:500])
