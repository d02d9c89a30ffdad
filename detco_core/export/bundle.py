"""Assembles a bundle: a folder that is written beside its place and then renamed, so that one that exists is complete.

To add a format: its file in this package, and a line in `FORMATS`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from detco_core.contract.manifest import MANIFEST_FILE, BundleFile, Manifest
from detco_core.contract.reader import plain
from detco_core.export.levels import Levels
from detco_core.export.onnx import read_onnx, write_onnx
from detco_core.export.torchvision import read_torchvision, write_torchvision
from detco_core.nets.backbone import StageBackbone
from detco_core.runtime.checkpoint import file_digest

BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a backbone, and to read what was written back as others would."""

    file: str
    write: Callable[[StageBackbone, Path], None]
    read: Callable[[str, Path], Levels]
    """Architecture and path -> the outputs; raises `ExportError` when the file cannot be used."""


FORMATS = {
    "onnx": Format("model.onnx", write_onnx, read_onnx),
    "torchvision": Format("torchvision.pth", write_torchvision, read_torchvision),
}


@contextmanager
def assembling(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends; after an error nothing of it is left.

    A bundle already at `target` is replaced, and stays as it is after an error.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        _replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def describe(folder: Path, path: str) -> BundleFile:
    """Size and digest of a file of the bundle in `folder`."""
    return BundleFile(path=path, bytes=(folder / path).stat().st_size, sha256=file_digest(folder / path))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, one field a line, for people too."""
    text = json.dumps(plain(manifest), indent=2, allow_nan=False)
    (folder / MANIFEST_FILE).write_text(text + "\n", "utf-8")


def _replace(new: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        # A folder that is not empty cannot be renamed over.
        target.rename(old)
    new.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
