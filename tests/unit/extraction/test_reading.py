"""Images come in order, whatever threads do, and each with its own error."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import ImageError
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.manifest import InputSpec
from detco_core.extraction.opening import open_reader, open_session
from detco_core.extraction.reading import Ready
from detco_core.inference.pictures.images import from_array
from detco_core.inference.pictures.preprocess import prepare
from detco_core.inference.tiny import write_tiny_bundle
from tests.pngs import noise, write_png
from tests.unit.extraction.conftest import BROKEN


def test_items_come_in_order_from_any_place(bundle: Path, dataset: DatasetRef) -> None:
    job = ExtractJob(folder="/", bundle=str(bundle), dataset=dataset)
    reader = open_reader(job, open_session(job).manifest)
    paths = [reader.path(number) for number in range(len(reader))]
    found = list(reader.items(3, threads=4, ahead=2))
    assert [item.file.path for item in found] == paths[3:]
    broken = [item for item in reader.items(0, threads=1, ahead=1) if isinstance(item.found, ImageError)]
    assert [item.file.path for item in broken] == [BROKEN]
    assert broken[0].bytes == 0


def test_files_are_read_as_training_reads_them(tmp_path: Path) -> None:
    """16-bit colour, many bands, bitmaps: what a run may have been trained on."""
    (tmp_path / "photos").mkdir()
    file = BytesIO()
    imwrite(file, noise(5), photometric="minisblack", planarconfig="contig")
    (tmp_path / "photos" / "bands.tif").write_bytes(file.getvalue())
    (tmp_path / "photos" / "deep.png").write_bytes(write_png(noise(3)))
    Image.fromarray((noise(3) >> 8).astype(np.uint8)).save(tmp_path / "photos" / "map.bmp")
    five = InputSpec(channels=5, mean=(0.5,) * 5, std=(0.2,) * 5, color="raw", bit_depth=16)
    for spec, pixels in ((InputSpec(bit_depth=16), noise(3)), (five, noise(5)), (InputSpec(), noise(3) >> 8)):
        stored = pixels.astype(np.uint16 if spec.bit_depth == 16 else np.uint8)
        (found,) = arrays(tmp_path, spec)
        np.testing.assert_array_equal(found, prepare(from_array(stored), spec).array)


def arrays(folder: Path, spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    """What the network is given of the images that it takes."""
    write_tiny_bundle(folder / "bundle", 0, spec)
    photos = DatasetRef(name="photos", kind="images", root=str(folder / "photos"))
    job = ExtractJob(folder=str(folder), bundle=str(folder / "bundle"), dataset=photos)
    for item in open_reader(job, open_session(job).manifest).items(0, threads=1, ahead=0):
        if isinstance(item.found, Ready):
            yield item.found.prepared.array
