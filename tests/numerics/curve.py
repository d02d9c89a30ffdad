"""The first losses of a preset, made as a run makes them, but so small that twenty steps take seconds.

What is written down is in `curves/PRESET.txt`, `step loss` a line. To write it anew after a change that means to change
numbers: `python -m tests.numerics.curve PRESET ...` (none: all), and a line in the changelog.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.presets import PRESETS, preset
from detco_core.data.synthetic import write_photos
from detco_core.runtime.device import open_device
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import make_trainer

CURVES = Path(__file__).parent / "curves"
PHOTOS = 40
STEPS = 20
SMALL = {
    "train.steps": STEPS,
    "train.batch_size": 4,
    # Nothing to start from: the recipe of a warm start, from random weights.
    "train.warm_start": False,
    "data.workers": 0,
    "data.decode_short_side": 64,
    "views.global_size": 32,
    "views.local_size": 48,
    "views.patch_size": 16,
    # Four patches instead of nine (which `smoke` keeps): two thirds of the time.
    "views.grid": 2,
    # With the published head half of the time would go into moving its 50 million weights.
    "method.local_head": "pirl",
    "method.queue_size": 64,
    "device.kind": "cpu",
    "device.threads": 1,
    # Faster only from larger images on.
    "device.channels_last": False,
}

RECIPES = ("detco_r50_aa", "detco_r50_domain")
"""They differ from `detco_r50` in views and schedule alone, which shows on a ResNet-18 in a third of the time."""


def small(name: str) -> RunConfig:
    """The preset as its curve is made; `smoke` with the nine patches and the head it has."""
    if name == "smoke":
        return override(preset(name), {key: SMALL[key] for key in SMALL.keys() - {"views.grid", "method.local_head"}})
    return override(preset(name), SMALL | ({"method.backbone": "resnet18"} if name in RECIPES else {}))


def losses(config: RunConfig, photos: Path) -> list[float]:
    """Of the first steps of a run on `photos`, by the very trainer."""
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder, Reporter(Path(folder)) as reporter, torch_as_found():
        dataset = DatasetRef(name="photos@1", kind="images", root=str(photos))
        job = PretrainJob(folder=folder, config=config, dataset=dataset)
        open_device(config.device, 0)
        trainer = make_trainer(job, reporter, StopRequest(), device)
        with closing(trainer.batches):
            return [trainer.step(next(trainer.batches)).loss.item() for _ in range(STEPS)]


def stored(name: str) -> list[float]:
    """As they are written down."""
    return [float(line.split()[1]) for line in (CURVES / f"{name}.txt").read_text().splitlines()]


@contextmanager
def torch_as_found() -> Iterator[None]:
    """A run sets torch's threads and determinism for its process; tests share one."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), PHOTOS)
        for name in names or list(PRESETS):
            lines = [f"{step} {loss:.6f}\n" for step, loss in enumerate(losses(small(name), Path(folder)), start=1)]
            (CURVES / f"{name}.txt").write_text("".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
