"""Made-up photos for tests and examples: deterministic, textured enough that crops of one differ, and no two alike.

Also every layout they may be stored in, and one file of each kind that makes loaders stumble.
"""

import tarfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Size = tuple[int, int]
"""Width and height in pixels, as Pillow has them."""


def photo(seed: int, size: Size = (320, 240), label: int | None = None) -> Image.Image:
    """An RGB scene: a lit, cloudy ground and textured shapes on it.

    Photos of one `label` share the shapes' outline and the family of their colours, whatever the seed.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 0 if label is None else label + 1]))
    # Steps of the golden ratio keep any number of classes apart on the colour circle.
    sides, hue = (None, None) if label is None else (3 + label % 5, label * 0.618 % 1)
    scene = _ground(rng, size)
    surfaces = [_surface(rng, size, float(rng.random()) if hue is None else hue) for _ in range(2)]
    for n in range(int(rng.integers(3, 7))):
        mask = _shape(rng, size, int(rng.integers(3, 9)) if sides is None else sides)
        scene = np.where(mask[..., None], surfaces[n % 2], scene)
    scene += rng.normal(0, 0.015, scene.shape)
    return Image.fromarray((255 * np.clip(scene, 0, 1)).astype(np.uint8))


def write_photos(folder: Path, count: int, size: Size = (320, 240), seed: int = 0) -> list[Path]:
    """Write `count` JPEGs `photo-0000.jpg`..., every third one upright instead of wide; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{n:04d}.jpg" for n in range(count)]
    for n, path in enumerate(paths):
        photo(seed + n, size if n % 3 else size[::-1]).save(path, quality=90)
    return paths


def write_labelled(folder: Path, classes: int, per_class: int, size: Size = (128, 128), seed: int = 0) -> list[str]:
    """Write `{train,val}/class-0/...jpg` with `per_class` images a class and split; returns the class names."""
    names = [f"class-{label}" for label in range(classes)]
    for split, offset in (("train", 0), ("val", 100_000)):
        for label, name in enumerate(names):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for n in range(per_class):
                image = photo(seed + offset + n, size, label)
                image.save(folder / split / name / f"{n:04d}.jpg", quality=90)
    return names


def write_shards(folder: Path, images: Sequence[bytes], per_shard: int) -> Path:
    """Write encoded JPEGs as WebDataset samples with a label each, into `shard-0000.tar`...; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(images), per_shard):
        with tarfile.open(folder / f"shard-{first // per_shard:04d}.tar", "w") as shard:
            for n, image in enumerate(images[first : first + per_shard], start=first):
                for name, content in ((f"{n:06d}.cls", b"%d" % (n % 10)), (f"{n:06d}.jpg", image)):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    shard.addfile(info, BytesIO(content))
    return folder


def write_rows(folder: Path, images: Sequence[bytes]) -> Path:
    """Save encoded images as a Hugging Face `Dataset` with the columns `image` and `label`; returns the folder."""
    from datasets import Dataset, Features, Image, Value

    columns = {"image": [{"bytes": image, "path": None} for image in images], "label": list(range(len(images)))}
    rows = Dataset.from_dict(columns, Features({"image": Image(), "label": Value("int64")}))
    rows.save_to_disk(str(folder), num_proc=None)
    return folder


class OddFiles(NamedTuple):
    """Files that make loaders stumble, by what is odd about them."""

    readable: dict[str, Path]
    broken: dict[str, Path]


def broken_files(folder: Path, seed: int = 0) -> OddFiles:
    """Write one of each: unusual files that must be read, and broken ones that must be refused."""
    folder.mkdir(parents=True, exist_ok=True)
    image = photo(seed, (96, 64))
    readable = {name: _saved(folder / name, writer, image) for name, writer in READABLE.items()}
    broken = {name: folder / name for name in ("truncated.jpg", "text.jpg", "empty.png", "empty.npy")}
    image.save(broken["truncated.jpg"])
    whole = broken["truncated.jpg"].read_bytes()
    broken["truncated.jpg"].write_bytes(whole[: len(whole) // 2])
    broken["text.jpg"].write_text("This is not a picture.\n")
    for name in ("empty.png", "empty.npy"):
        broken[name].write_bytes(b"")
    return OddFiles(readable, broken)


def _saved(path: Path, writer: Callable[[Image.Image, Path], None], image: Image.Image) -> Path:
    writer(image, path)
    return path


def _write_rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95, subsampling=0)


def _write_sixteen_bit(image: Image.Image, path: Path) -> None:
    gray = np.asarray(image.convert("L")).astype(np.uint16)
    Image.fromarray(gray << 8 | gray).save(path)


def _write_unmarked_cmyk(image: Image.Image, path: Path) -> None:
    """Inverted as Adobe's programs store it, without the segment that says so."""
    image.convert("CMYK").save(path, quality=95)
    data = path.read_bytes()
    start = data.index(b"\xff\xee")
    path.write_bytes(data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :])


def _write_see_through_palette(image: Image.Image, path: Path) -> None:
    image.quantize(64).save(path, transparency=bytes(range(0, 256, 4)))


def _write_sixteen_bit_color(image: Image.Image, path: Path) -> None:
    # Pillow writes none: a PNG by hand, each byte doubled into a big-endian 16-bit value.
    rows = np.repeat(np.asarray(image), 2, axis=2).reshape(image.height, -1)
    lines = np.concatenate([np.zeros((image.height, 1), np.uint8), rows], axis=1)
    header = image.width.to_bytes(4, "big") + image.height.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    parts = [
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big") for name, body in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _write_animation(image: Image.Image, path: Path) -> None:
    frames = [image.transpose(Image.Transpose.ROTATE_180), image.convert("L").convert("RGB")]
    image.save(path, save_all=True, append_images=frames, lossless=True)


READABLE: dict[str, Callable[[Image.Image, Path], None]] = {
    "one-pixel.png": lambda image, path: image.resize((1, 1)).save(path),
    "cmyk.jpg": lambda image, path: image.convert("CMYK").save(path, quality=95),
    "cmyk-unmarked.jpg": _write_unmarked_cmyk,
    "sixteen-bit.png": _write_sixteen_bit,
    "sixteen-bit-color.png": _write_sixteen_bit_color,
    "palette.png": lambda image, path: image.quantize(64).save(path),
    "palette-see-through.png": _write_see_through_palette,
    "animated.webp": _write_animation,
    "animated.png": _write_animation,
    "gray-alpha.png": lambda image, path: image.convert("LA").save(path),
    "bilevel.png": lambda image, path: image.convert("1").save(path),
    "rotated.jpg": _write_rotated,
    "one-by-20000.png": lambda image, path: image.resize((1, 20_000)).save(path),
    "really-a-png.jpg": lambda image, path: image.save(path, format="PNG"),
}
"""Writers of odd but readable files; `rotated.jpg` shows the image upright only when its EXIF tag is heeded, an
animation in its first frame. Both CMYK files are inverted, as Adobe's programs store it; one says so."""


def _noise(rng: np.random.Generator, size: Size, octaves: Sequence[int]) -> Floats:
    """Smooth noise in 0..1, [H, W]: random grids of growing fineness, magnified and added at falling strength."""
    total = np.zeros(size[::-1], np.float32)
    for strength, cells in enumerate(octaves, start=1):
        grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        total += np.asarray(grid.resize(size, Image.Resampling.BICUBIC)) / 2**strength
    low, high = float(total.min()), float(total.max())
    return ((total - low) / max(high - low, 1e-6)).astype(np.float32)


def _ground(rng: np.random.Generator, size: Size) -> Floats:
    """[H, W, 3]: clouds between two colours, darker towards one side."""
    dark, light = rng.uniform(0.0, 0.5, 3), rng.uniform(0.4, 1.0, 3)
    clouds = _noise(rng, size, (3, 7, 17, 41))[..., None]
    fall = np.linspace(rng.uniform(0.6, 1.0), 1.0, size[1], dtype=np.float32)[:, None, None]
    return ((dark + (light - dark) * clouds) * fall).astype(np.float32)


def _shape(rng: np.random.Generator, size: Size, sides: int) -> NDArray[np.bool_]:
    """[H, W] mask of a star-shaped polygon anywhere in the image."""
    radius = rng.uniform(0.12, 0.32) * min(size)
    angles = rng.uniform(0, 2 * np.pi) + np.arange(2 * sides) * np.pi / sides
    reach = radius * np.where(np.arange(2 * sides) % 2, rng.uniform(0.45, 0.8), 1.0)
    centre = rng.uniform(0.15, 0.85, 2) * size
    corners = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return np.asarray(mask) > 0


def _surface(rng: np.random.Generator, size: Size, hue: float) -> Floats:
    """[H, W, 3]: stripes or checks of a colour near `hue`, with some noise in them."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    turn, pitch = rng.uniform(0, np.pi), rng.uniform(4, 16)
    stripes = np.sin((np.cos(turn) * x + np.sin(turn) * y) * 2 * np.pi / pitch)
    if rng.random() < 0.5:
        stripes = stripes * np.sin((np.sin(turn) * x - np.cos(turn) * y) * 2 * np.pi / pitch)
    shade = 0.7 + 0.2 * np.sign(stripes) + 0.3 * (_noise(rng, size, (9, 23)) - 0.5)
    phase = (hue + rng.normal(0, 0.03) + np.array([0, 1 / 3, 2 / 3])) * 2 * np.pi
    colour = 0.55 + 0.4 * np.cos(phase)
    surface: Floats = (shade[..., None] * colour).astype(np.float32)
    return surface
