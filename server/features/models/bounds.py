"""How much a server holds: which of the models that nothing needs are let go."""

from collections.abc import Collection
from dataclasses import dataclass

from server.features.models.catalog import VersionRef
from server.features.models.loaded import Loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The most a server holds of models; those it must hold count, and are never let go."""

    models: int
    bytes: int | None = None
    """Of weights; None: any number."""

    def over(
        self, held: Collection[Loaded], free: Collection[Loaded], awaited: Collection[VersionRef] = ()
    ) -> list[Loaded]:
        """The least recently used of `free`, part of `held`, as many as are over the bounds; never the last of them,
        nor those `awaited`: what was loaded for somebody is of use to him.
        """
        models, size = len(held), sum(model.bytes for model in held)
        going = []
        for model in sorted(free, key=lambda model: model.last_used)[:-1]:
            if models <= self.models and (self.bytes is None or size <= self.bytes):
                break
            if model.version not in awaited:
                going.append(model)
                models -= 1
                size -= model.bytes
        return going
