"""Bundles brought from services, kept in a folder by the digest of their manifest, and what each was called there.

Several processes may share the folder: what is in it was renamed into place, whole.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import MANIFEST_FILE, read_manifest

CACHE = "DETCO_CACHE"
_DRAFT = ".fetching-"
_DRAFTS_LIVE = 24 * 3600.0
"""Seconds after which the draft of a process that was killed is nobody's."""


def cache_folder() -> Path:
    """DETCO_CACHE, else `~/.cache/detco`."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "detco")


class KeptBundles:
    """One folder of them."""

    def __init__(self, folder: Path) -> None:
        self._bundles = folder / "bundles"
        self._names = folder / "names"

    def find(self, digest: str) -> Path | None:
        """The bundle with the manifest of this digest, its files checked; None: not there, or damaged."""
        bundle = self._bundles / digest
        try:
            text = (bundle / MANIFEST_FILE).read_bytes()
            file = read_manifest(bundle).files["onnx"]
            with (bundle / file.path).open("rb") as model:
                found = "sha256:" + hashlib.file_digest(model, "sha256").hexdigest()
        except (OSError, BundleError):
            return None
        return bundle if found == file.sha256 and manifest_digest(text) == digest else None

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder to fill and to `place`; gone afterwards, as are those that killed processes left long ago.

        Raises:
            BundleError: nothing can be written there.
        """
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            self._sweep()
            draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._bundles))
        except OSError as error:
            raise BundleError(
                f"fetched bundles cannot be kept in {self._bundles}: {error.strerror}; name another folder in {CACHE}"
            ) from error
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def place(self, draft: Path, digest: str) -> Path:
        """Rename a whole bundle to where it is found; what another process has brought meanwhile stays."""
        target = self._bundles / digest
        if target.exists() and self.find(digest) is None:
            with suppress(OSError):  # another process does the same
                target.rename(draft.with_name(f"{draft.name}-damaged"))
            shutil.rmtree(draft.with_name(f"{draft.name}-damaged"), ignore_errors=True)
        try:
            draft.rename(target)
        except OSError:
            if self.find(digest) is None:
                raise
        return target

    def remember(self, url: str, model: str, digest: str) -> None:
        """What `model` of the service at `url` was when it was asked for last."""
        note = self._note(url, model)
        with suppress(OSError):  # nothing but a convenience when the service is gone
            note.parent.mkdir(parents=True, exist_ok=True)
            part = note.with_name(f"{note.name}.{os.getpid()}.{time.monotonic_ns()}")
            part.write_text(digest)
            part.replace(note)

    def remembered(self, url: str, model: str) -> Path | None:
        """What it was then, if that is still here."""
        try:
            digest = self._note(url, model).read_text()
        except OSError:
            return None
        return self.find(digest)

    def _note(self, url: str, model: str) -> Path:
        return self._names / hashlib.sha256(f"{url}\n{model}".encode()).hexdigest()

    def _sweep(self) -> None:
        for left in self._bundles.glob(f"{_DRAFT}*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _DRAFTS_LIVE:
                    shutil.rmtree(left, ignore_errors=True)


def manifest_digest(text: bytes) -> str:
    """By which a bundle is kept."""
    return hashlib.sha256(text).hexdigest()
