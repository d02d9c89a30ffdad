"""A tiny bundle, twelve pictures of three sizes of which one is broken, and a way to run a job in this process."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Body, decode
from detco_core.contract.extractions.files import FOLDER, Entry, ShardHead, read_line
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import EVENTS_FILE, CheckJob, ExtractJob
from detco_core.contract.reader import read
from detco_core.data.scan import MANIFEST, scan
from detco_core.extraction.job import run
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.runtime.reporter import Reporter

BROKEN = "d/04.png"
SIZES = [(40, 30), (33, 65), (64, 64)]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(folder)
    return folder


def png(width: int, height: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    root = tmp_path_factory.mktemp("photos")
    for n in range(12):
        path = root / ("d" if n % 2 == 0 else "e") / f"{n:02}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(*SIZES[n % 3], n))
    return root


@pytest.fixture(scope="session")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    """Scanned while all was well; since then one file is damaged, at its old size."""
    folder = tmp_path_factory.mktemp("scan")
    splits = {"one": "d", "two": "e"}
    report = scan(CheckJob(folder=str(folder), root=str(photos), splits=splits))
    size = (photos / BROKEN).stat().st_size
    (photos / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n" + b"?" * (size - 8))
    manifest = str(folder / MANIFEST)
    return DatasetRef(name="photos@1", kind="images", root=str(photos), manifest=manifest, digest=report.digest)


@pytest.fixture
def make_job(tmp_path: Path, bundle: Path, dataset: DatasetRef) -> Callable[..., ExtractJob]:
    def make(folder: str = "job", options: dict[str, Any] | None = None, **fields: Any) -> ExtractJob:
        (tmp_path / folder).mkdir(exist_ok=True)
        return ExtractJob(
            folder=str(tmp_path / folder),
            bundle=str(bundle),
            dataset=dataset,
            options=read(ExtractionOptions, options or {}),
            **fields,
        )

    return make


def extract(job: ExtractJob) -> list[Body]:
    """Run it; all it ever said in its folder."""
    with Reporter(Path(job.folder)) as reporter:
        run(job, reporter)
    return [decode(line).body for line in (Path(job.folder) / EVENTS_FILE).read_text().splitlines()]


def files(job: ExtractJob) -> dict[str, bytes]:
    """What lies in its folder of features, drafts too."""
    return {path.name: path.read_bytes() for path in sorted((Path(job.folder) / FOLDER).iterdir())}


def entries(job: ExtractJob) -> dict[str, tuple[str, Entry]]:
    """By image: its shard and its entry."""
    found = {}
    for part in sorted((Path(job.folder) / FOLDER).glob("*.jsonl")):
        first, *lines = part.read_text().splitlines()
        shard = read_line(ShardHead, first, "head").shard.path
        for line in lines:
            entry = read_line(Entry, line, "entry")
            found[entry.image] = (shard, entry)
    return found


def write_json(path: Path, document: Any) -> str:
    path.write_text(json.dumps(document))
    return str(path)
