"""The models this server has under the protocol's names: which answer, and having them loaded or let go of."""

from collections.abc import Collection, Iterator

from server.features.errors import UnknownModel
from server.features.models.selector import DEFAULT_ALIAS
from server.features.models.serving import Models
from server.features.oip.targets import TENSOR_SUFFIX, Target


class Repository:
    """Every model with the alias `production`."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def served(self) -> dict[str, int]:
        """By model, the version that its alias `production` is served by."""
        states = (state for state in self._models.states() if state.served is not None)
        pairs = ((state.alias.partition("@"), state.served) for state in states)
        return {model: version.number for (model, _, alias), version in pairs if alias == DEFAULT_ALIAS and version}

    def is_unknown(self, target: Target, only: Collection[str] | None) -> bool:
        """Whether there is no such model, ready or not; who is limited to others is not told."""
        if only is not None and target.model not in only:
            return False
        return all(found != f"{target.model}@{DEFAULT_ALIAS}" for found, *_ in self._states())

    def is_ready(self, target: Target, only: Collection[str] | None) -> bool:
        """Whether the model answers now, without loading anything."""
        if only is not None and target.model not in only:
            return False
        if target.number is None:
            return target.model in self.served()
        versions = (loaded.version for loaded in self._models.loaded())
        return (target.model, target.number) in {(version.model, version.number) for version in versions}

    def index(self, only: Collection[str] | None, *, ready: bool) -> list[dict[str, str]]:
        """Every model with the alias `production`, under both names, and how it is."""
        entries = []
        for found, version, word, reason in sorted(self._states()):
            model, _, alias = found.partition("@")
            if alias == DEFAULT_ALIAS and (only is None or model in only) and (word == "READY" or not ready):
                entry = {"version": str(version), "state": word, "reason": reason}
                entries += [{"name": name, **entry} for name in (model, model + TENSOR_SUFFIX)]
        return entries

    def _states(self) -> Iterator[tuple[str, int, str, str]]:
        """Every alias, the version that answers it or should, the protocol's word for how it is, and why."""
        for state in self._models.states():
            word = "READY" if state.served is not None else "UNAVAILABLE" if state.failure else "LOADING"
            yield state.alias, (state.served or state.wanted).number, word, state.failure or ""
        for alias, version in self._models.withheld().items():
            yield alias, version.number, "UNAVAILABLE", "unloaded"

    def load(self, target: Target, seconds: float) -> None:
        """Have the model loaded and warm, also after `unload`; blocks. Raises as `Models.ensure`."""
        models = self._models
        models.withhold(target.model, withheld=False)
        wanted = next((s.wanted for s in models.states() if s.alias == f"{target.model}@{DEFAULT_ALIAS}"), None)
        if wanted is None:
            raise UnknownModel(f"there is no model {target.name[:100]}: its alias {DEFAULT_ALIAS} names no version")
        models.ensure(wanted.model, wanted.number, seconds)

    def unload(self, target: Target) -> None:
        """Let go of the model on this server until it is loaded or promoted again; blocks."""
        if target.model not in self.served():
            raise UnknownModel(f"there is no model {target.name[:100]} loaded here")
        self._models.withhold(target.model, withheld=True)
