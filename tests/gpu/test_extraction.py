"""Bulk extraction on a GPU: with a batch brought, one computed and one finished, each image has what it gets alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detco_client import ExtractedFeatures
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.extractions.files import FOLDER
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.reader import read
from detco_core.extraction.job import run
from detco_core.inference import Backbone
from detco_core.inference.sessions.execution import CUDA
from detco_core.runtime.reporter import Reporter

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("onnxruntime_gpu")]

IMAGES = 60
SIZES = [(64, 48), (48, 64), (96, 96)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for n in range(IMAGES):
        width, height = SIZES[n % len(SIZES)]
        pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return folder


@pytest.mark.parametrize(
    "options", [{"levels": ["p2", "p5"], "batch_size": 4}, {"levels": ["p4"], "pool": "avg", "normalize": "l2"}]
)
def test_each_image_has_what_it_gets_alone(bundle: Path, photos: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    asked = read(ExtractionOptions, {"shard_images": 17, "resize": "none", **options})
    dataset = DatasetRef(name="photos@1", kind="images", root=str(photos))
    with Reporter(tmp_path) as reporter:
        run(ExtractJob(folder=str(tmp_path), bundle=str(bundle), dataset=dataset, options=asked), reporter)
    backbone = Backbone(bundle, providers=[CUDA, "CPUExecutionProvider"])
    wishes = {key: options[key] for key in ("pool", "normalize") if key in options}
    with ExtractedFeatures(tmp_path / FOLDER) as found:
        assert len(found) == IMAGES
        for name, image in found.items():
            alone = backbone.features(photos / name, levels=options["levels"], resize="none", **wishes)
            for level, array in alone.tensors.items():
                np.testing.assert_allclose(image.arrays[level], array, rtol=1e-4, atol=1e-4 * np.abs(array).max())
