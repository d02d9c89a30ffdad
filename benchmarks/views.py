"""CPU time of the four DetCo views of one image: ours, and the usual torchvision v2 path on Pillow images.

    python -m benchmarks.views [--photos FOLDER] [--images 64]

Both decode the same JPEGs and make two 224 px views and two sets of nine 64 px patches, on one thread, turn about,
in the same run; what counts is the ratio. Without a folder, made-up 400x300 photos are used.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

from detco_core.contract.config import ViewsConfig
from detco_core.data.images import open_image
from detco_core.data.synthetic import write_photos
from detco_core.views.pipeline import ViewPipeline, sample_rng

ROUNDS = 5


class PillowBlur:
    """MoCo v2's blur."""

    def __call__(self, image: Image.Image) -> Image.Image:
        sigma = float(torch.empty(1).uniform_(0.1, 2.0))
        return image.filter(ImageFilter.GaussianBlur(sigma))


def torchvision_path(blur: Callable[[Image.Image], Image.Image]) -> Callable[[Path], object]:
    """The published recipe, as one writes it with torchvision."""

    def view(size: int, scale: tuple[float, float]) -> v2.Compose:
        return v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=scale, antialias=True),
                v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([blur], p=0.5),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
            ]
        )

    whole, region = view(224, (0.2, 1.0)), view(255, (0.6, 1.0))

    def patches(image: Image.Image) -> torch.Tensor:
        cells = region(image).unfold(1, 85, 85).unfold(2, 85, 85).flatten(1, 2)
        corners = torch.randint(22, (9, 2)).tolist()
        cut = [cells[:, n, y : y + 64, x : x + 64] for n, (y, x) in enumerate(corners)]
        return torch.stack([cut[n] for n in torch.randperm(9).tolist()])

    def make(path: Path) -> object:
        with Image.open(path) as file:
            image = file.convert("RGB")
        return whole(image), whole(image), patches(image), patches(image)

    return make


def ours(config: ViewsConfig) -> Callable[[Path], object]:
    pipeline = ViewPipeline(config, local=True)
    seen = iter(range(1_000_000))
    return lambda path: pipeline(open_image(path, 512), sample_rng(0, 0, next(seen)))


def milliseconds(make: Callable[[Path], object], paths: list[Path]) -> float:
    start = time.process_time()
    for path in paths:
        make(path)
    return 1000 * (time.process_time() - start) / len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs; default: made-up ones")
    parser.add_argument("--images", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    candidates: dict[str, Callable[[Path], object]] = {
        "decode alone": open_image,
        "torchvision, its GaussianBlur(23)": torchvision_path(v2.GaussianBlur(23, (0.1, 2.0))),
        "torchvision, Pillow's blur": torchvision_path(PillowBlur()),
        "ours": ours(ViewsConfig()),
        "ours, RandAugment": ours(ViewsConfig(augment="rand_augment")),
    }
    with tempfile.TemporaryDirectory() as folder:
        photos = arguments.photos and sorted(arguments.photos.rglob("*.jpg"))
        paths = (photos or write_photos(Path(folder), arguments.images, (400, 300)))[: arguments.images]
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS):
            for name, make in candidates.items():
                times[name].append(milliseconds(make, paths))
    base = statistics.median(times["ours"])
    print(f"{'CPU ms an image, decode included':38} median    min   of ours")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:38} {median:6.2f} {min(values):6.2f} {median / base:8.2f}x")


if __name__ == "__main__":
    main()
