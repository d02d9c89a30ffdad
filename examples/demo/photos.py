"""The demo's photos: a committed choice from the PyPI package mvtb-data, or a folder of yours (`PHOTOS=folder`)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

SHORT_SIDE = 512
"""The choice is shrunk to this, in pixels: PNGs of 8 megapixels would take longer to open than to train on."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
FEWEST = 16


class NoPhotos(Exception):
    """The photos asked for cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Photos:
    """A folder of photos to learn from."""

    folder: Path
    files: tuple[Path, ...]
    origin: str
    """One sentence for the summary."""


def find_photos(out: Path) -> Photos:
    """The user's photos, read in place, or else the committed choice, shrunk into `out`."""
    own = os.environ.get("PHOTOS")
    return own_photos(Path(own)) if own else chosen_photos(out)


def own_photos(folder: Path) -> Photos:
    """Every picture below a folder.

    Raises:
        NoPhotos: when there are fewer than `FEWEST`.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise NoPhotos(f"PHOTOS names {folder}, which is not a folder")
    found = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES))
    if len(found) < FEWEST:
        raise NoPhotos(f"{folder} has {len(found)} photos; the demo needs at least {FEWEST} to learn anything from")
    return Photos(folder, found, f"{len(found)} photos of yours in {folder}, read in place")


def chosen_photos(out: Path) -> Photos:
    """The committed choice as JPEGs in `out`, one file each, none overwritten that is there already."""
    root = Path(str(files("mvtbdata"))) / "images"
    out.mkdir(parents=True, exist_ok=True)
    made = tuple(shrink(root / name, out / f"{Path(name).stem.replace('.', '-')}.jpg") for name in listed())
    origin = f"{len(made)} photos chosen by eye from the PyPI package mvtb-data 1.6.1 (MIT license), short side at most"
    return Photos(out, made, f"{origin} {SHORT_SIDE} px")


def listed() -> Sequence[str]:
    """The lines of photos.txt that name a file."""
    lines = (Path(__file__).parent / "photos.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def shrink(source: Path, target: Path) -> Path:
    """Write `source` as an upright RGB JPEG."""
    if not target.exists():
        with Image.open(source) as image:
            photo = upright(image)
        scale = SHORT_SIDE / min(photo.size)
        if scale < 1:
            photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        photo.save(target, quality=92)
    return target


def upright(image: Image.Image) -> Image.Image:
    """A photo as people see it: turned as its EXIF says, in color, without transparency."""
    return ImageOps.exif_transpose(image).convert("RGB")


def open_upright(path: Path) -> Image.Image | None:
    """The photo of a file; None when it cannot be read (the service lists such files)."""
    try:
        with Image.open(path) as image:
            return upright(image)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
