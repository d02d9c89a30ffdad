"""Who uses a bundle's folder, in this process or in another of this machine: locks of the kernel's tell, which end with
their process however that ends.

A user has the manifest locked together with all others; who would remove the folder locks it alone, without waiting.
"""

import errno
import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from detco_core.contract.manifest import MANIFEST_FILE

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}
"""What file systems say that know none, as some of clusters: there everybody is taken to be alone."""


class Use:
    """The use of a bundle's folder, from `begin` to `end`."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor: int | None = descriptor

    @classmethod
    def begin(cls, folder: Path) -> "Use | None":
        """None when there is no bundle, or none any more."""
        manifest = folder / MANIFEST_FILE
        while True:
            try:
                descriptor = os.open(manifest, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                # Waits for who removes it, which takes no longer than giving it another name.
                _lock(descriptor, fcntl.LOCK_SH)
                if _is_still(manifest, descriptor):
                    return cls(folder, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def move(self, folder: Path) -> None:
        """Give the folder another name, under which it is in use from the first moment; raises `OSError`."""
        self.folder.rename(folder)
        self.folder = folder

    def end(self) -> None:
        """May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def remove_unused(folder: Path) -> bool:
    """Remove a bundle's folder unless somebody uses it; whether it is gone."""
    try:
        # For writing, since some network file systems want that of who locks a file alone.
        descriptor = os.open(folder / MANIFEST_FILE, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return _remove_half(folder)
    except OSError:
        return False
    try:
        _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_still(folder / MANIFEST_FILE, descriptor):
            return False
        # From here on it is found by nobody, however long removing takes.
        gone = folder.rename(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _remove_half(folder: Path) -> bool:
    """Remove what has no manifest, which nobody can begin to use; not what is put whole in its place meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return not folder.exists()
    try:
        # By its descriptor it is this very folder, in which no bundle comes to be.
        with os.scandir(descriptor) as entries:
            folders = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        if MANIFEST_FILE not in folders:
            for name, is_folder in folders.items():
                _remove(name, descriptor, is_folder=is_folder)
            folder.rmdir()  # an empty one alone
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return not folder.exists()


def _remove(name: str, parent: int, *, is_folder: bool) -> None:
    """In an open folder; another process may be doing it too."""
    if is_folder:
        shutil.rmtree(name, ignore_errors=True, dir_fd=parent)
        return
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def _lock(descriptor: int, how: int) -> None:
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the path names the file that was opened, which another may have removed or replaced meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
