"""Extractions: the features of every image of a data set, as files."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detco_client.download import OnBytes, download
from detco_client.errors import ClientError
from detco_client.extracted import ExtractedFeatures
from detco_client.file_cache import DEFAULT_BYTES, CachedFiles
from detco_client.jobs import Jobs
from detco_client.resources.extractions import Extraction, ExtractionFile
from detco_client.transport import Transport


@dataclass(slots=True)
class _Fetch:
    """Brings files of one extraction, in any process that it is pickled or forked to."""

    transport: Transport
    files: str
    """Path of all of them."""

    def __call__(self, path: str, target: Path, sha256: str) -> None:
        self.transport = self.transport.here()
        # Beside its place: two readers of one cache must not write to one part.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as draft:
            download(self.transport, f"{self.files}{path}", Path(draft) / target.name, sha256)
            (Path(draft) / target.name).replace(target)


class Extractions(Jobs[Extraction]):
    """`client.extractions`."""

    resource = "extractions"

    def submit(self, model: str, dataset: str, *, key: str = "", **more: Any) -> Extraction:
        """Queue an extraction.

        Args:
            model: `name@alias`, `name:version` or `name`.
            dataset: `name` or `name@version`.
            key: the Idempotency-Key; made up when empty.
            more: `levels`, `pool`, `dtype`, `split`, `boxes_from`, `format`, ... as the API takes them.

        Raises:
            Refused: among others when it would take more bytes than the service allows; names the estimate.
        """
        return self._submit({"model": model, "dataset": dataset, **more}, key)

    def plan(self, model: str, dataset: str, **more: Any) -> Any:
        """What `submit` would extract, with the bytes it will take; queues nothing."""
        body = {"model": model, "dataset": dataset, **more}
        return self._transport.post("/v1/extractions", body, params={"dry_run": True})

    def list(self, group: str | None = None, state: str | None = None) -> Iterator[Extraction]:
        """Every extraction, newest first."""
        return self._transport.items("/v1/extractions", {"group": group, "state": state})

    def files(self, id: str) -> Iterator[ExtractionFile]:
        """Its files by name, as far as they are finished."""
        return self._transport.items(f"{self._path(id)}/files")

    def download(self, id: str, folder: Path, on_bytes: OnBytes | None = None) -> Path:
        """All files, each checked by its digest; one that is there already is not fetched again. The folder is then
        what `ExtractedFeatures` reads.
        """
        for file in self.files(id):
            target = folder / Path(file["path"]).name
            if not (target.is_file() and target.stat().st_size == file["bytes"]):
                download(self._transport, self._file(id, file["path"]), target, file["sha256"], on_bytes)
        return folder

    def open(self, id: str, cache: Path | None = None, cache_bytes: int = DEFAULT_BYTES) -> ExtractedFeatures:
        """Read a completed extraction by image name; files are fetched as they are needed.

        It goes to a loader's processes, forked or spawned, and each fetches by itself into the one cache. Pickled it
        holds the token: it is for processes, not for files.

        Args:
            id: of the extraction.
            cache: where they are kept by digest; None: DETCO_CACHE, else `~/.cache/detco`.
            cache_bytes: bound of what is kept there; the longest unused go first.

        Raises:
            ClientError: it is not completed.
        """
        report = self.get(id)["report"]
        if report is None:
            raise ClientError(f"extraction {id} has no index yet: wait for it to complete")
        folder = cache or Path(os.environ.get("DETCO_CACHE", Path.home() / ".cache" / "detco"))
        index = report["index"]
        files = CachedFiles(folder / "extractions", cache_bytes, _Fetch(self._transport, self._file(id, "")))
        return ExtractedFeatures(files, index["sha256"])

    def _file(self, id: str, path: str) -> str:
        return f"{self._path(id)}/files/{path}"
