"""The data of the comparison: pretraining images without labels, and a labelled set to evaluate on.

`stamps` is cut-and-paste data made for this project and not part of it: a folder with `photos/` (photos, no labels),
`detect/images/{train,val}/` (scenes of several objects) and `classify/{train,val}/CLASS/` (one object an image).
"""

import tarfile
from pathlib import Path

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.scan import MANIFEST, scan

INPUT = ("photos", "detect/images/train")
"""Folders that are pretrained on; their labels, where they have any, are not read."""
NOT_INPUT = ("classify/*", "detect/images/val/*", "detect/semantic/*")


def open_stamps(source: Path, work: Path) -> Path:
    """The folder of `stamps`: `source` itself, or where a tar of it is unpacked, once, below `work`.

    Raises:
        DataError: a part of it is missing.
    """
    root = source
    if source.is_file():
        root = work / "stamps"
        if not root.is_dir():
            part = work / "stamps.part"
            with tarfile.open(source) as tar:
                tar.extractall(part, filter="data")
            part.rename(root)
    missing = [name for name in (*INPUT, "classify/train", "classify/val") if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{source} is not `stamps`: it lacks {', '.join(missing)}")
    return root.absolute()


def unlabelled(root: Path, work: Path) -> DatasetRef:
    """The pretraining images, as a data set version whose manifest is written below `work`."""
    report = scan(CheckJob(folder=str(work), root=str(root), kind="images", exclude=NOT_INPUT))
    return DatasetRef(
        name="stamps-input@1",
        kind="images",
        root=str(root),
        manifest=str(work / MANIFEST),
        digest=report.digest,
    )


def labelled(root: Path) -> DatasetRef:
    """The images that features are evaluated on: `train` to look up or to fit, `val` to classify."""
    return DatasetRef(name="stamps-classify@1", kind="labelled", root=str(root / "classify"))
