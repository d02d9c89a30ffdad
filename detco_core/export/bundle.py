"""Assembles a bundle: a folder that is written beside its place and then renamed, so that one that exists is complete.

To add a format: its file in this package, a line in `FORMATS`, and one in `advice.ADVICE`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from detco_core.contract.manifest import MANIFEST_FILE, BundleFile, Manifest
from detco_core.contract.reader import plain
from detco_core.export.detectors import detectron2_configs, mmdetection_configs
from detco_core.export.detectron2 import detectron2_lacks, read_detectron2, write_detectron2
from detco_core.export.mmdetection import mmdetection_lacks, read_mmdetection, write_mmdetection
from detco_core.export.onnx import read_onnx, write_onnx
from detco_core.export.reading import Reading
from detco_core.export.subject import Subject
from detco_core.export.timm import read_timm, timm_lacks, write_timm
from detco_core.export.torchvision import read_torchvision, torchvision_lacks, write_torchvision
from detco_core.nets.stages import StageBackbone
from detco_core.runtime.checkpoint import file_digest

BUNDLE = "bundle"


Companions = Callable[[Subject, str], Mapping[str, tuple[str, str]]]
"""What is exported and the name of the weights' file -> name in the manifest -> file name and text."""


def _none(subject: Subject, weights: str) -> Mapping[str, tuple[str, str]]:
    return {}


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a backbone, and to read what was written back as others would."""

    file: str
    write: Callable[[StageBackbone, Path], None]
    read: Callable[[StageBackbone, Path], Reading]
    """Raises `ExportError` when the file cannot be used. Of the backbone only name and input are looked at."""
    lacks: Callable[[str], str | None] = lambda architecture: None
    """Why the library has no such architecture; None when it has."""
    companions: Companions = _none


FORMATS: Mapping[str, Format] = {
    "onnx": Format("model.onnx", write_onnx, read_onnx),
    "torchvision": Format("torchvision.pth", write_torchvision, read_torchvision, torchvision_lacks),
    "timm": Format("timm.pth", write_timm, read_timm, timm_lacks),
    "detectron2": Format("detectron2.pkl", write_detectron2, read_detectron2, detectron2_lacks, detectron2_configs),
    "mmdetection": Format(
        "mmdetection.pth", write_mmdetection, read_mmdetection, mmdetection_lacks, mmdetection_configs
    ),
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
