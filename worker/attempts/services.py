"""What a runner works with, opened from the settings."""

from typing import NamedTuple

from sqlalchemy import Engine

from control.bus import Bus, open_bus
from control.db.session import open_engine
from control.settings import Settings
from control.storage.base import Store, key_of
from control.storage.cache import Cache
from control.storage.open import open_store
from worker.inputs.unpacked import Place, Unpacked


class Services(NamedTuple):
    """What a runner works with."""

    settings: Settings
    engine: Engine
    store: Store
    bus: Bus

    @property
    def place(self) -> Place:
        """Brings artifacts; those of a remote store by way of this host's cache."""
        if self.settings.store_url is not None:
            return Cache(self.settings.data_dir / "cache", self.settings.cache_bytes, self.store).place
        return lambda path, digest: self.store.fetch(key_of(digest), path, digest)

    def unpacked(self) -> Unpacked:
        """Archives that lie unpacked on this host; those that are used stay as long as what is returned."""
        return Unpacked(self.settings.data_dir / "cache", self.settings)


def open_services(settings: Settings) -> Services:
    """Opens nothing on the network yet."""
    return Services(settings, open_engine(settings.resolved_database_url), open_store(settings), open_bus(settings))
