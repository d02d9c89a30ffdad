"""The catalogue in earnest: aliases and pins from the tables, bundles from the artifact store."""

from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Engine

from control.db.session import read_only
from control.reading import watched
from control.records.models import serving
from control.records.models.serving import ServedVersion
from control.storage.base import Store
from detco_core.contract.errors import BundleError
from server.features.models.catalog import VersionRef, Wanted

_FILES = ("manifest", "onnx")


class RecordsCatalog:
    """A `Catalog` over the control plane; used from threads, never from the event loop."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    def wanted(self, held: Collection[str] = ()) -> Wanted:
        with read_only(self._engine) as session:
            found = serving.followed(session)
            deleted = serving.deleted(session, held)
        aliases = {alias: _ref(version) for alias, version in found.aliases.items()}
        return Wanted(aliases, frozenset(map(_ref, found.pinned)), deleted)

    def find(self, model: str, number: int) -> VersionRef | None:
        with read_only(self._engine) as session:
            found = serving.find_served(session, model, number)
        return None if found is None else _ref(found)

    def fetch(self, version: VersionRef, folder: Path) -> None:
        with read_only(self._engine) as session:
            files = serving.bundle_files(session, version.id)
        for name in _FILES:
            if name not in files:
                raise BundleError(f"{version} has no file {name} in the records")
            file = files[name]
            with watched(self._engine, file["key"]):
                self._store.fetch(file["key"], folder / file["path"], file["digest"])


def _ref(version: ServedVersion) -> VersionRef:
    return VersionRef(version.id, version.model, version.number, version.weights_digest)
