"""JPEGs that weigh what photographs of their size do, the same on every machine, and such as are damaged."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Size = tuple[int, int]
"""Width and height."""


def jpeg(size: Size, seed: int = 0) -> bytes:
    """Soft shapes with some grain: 640x480 has about 35 kB."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
    soft = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-6, 7, soft.shape, np.int16)
    file = io.BytesIO()
    Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def damaged(size: Size) -> list[bytes]:
    """What people send by mistake: nothing, text, half a file, noise behind a right beginning."""
    whole = jpeg(size)
    noise = np.random.default_rng(1).bytes(len(whole))
    return [b"", b"this is no picture", whole[: len(whole) // 2], whole[:20] + noise]


def mixed(count: int, largest: int, seed: int = 0) -> list[bytes]:
    """Pictures of as many sizes, from 48 pixels a side."""
    random = np.random.default_rng(seed)
    sides = random.integers(48, largest + 1, (count, 2))
    return [jpeg((int(width), int(height)), seed) for width, height in sides]


def keep(folder: Path, name: str, pictures: Sequence[bytes]) -> list[Path]:
    """Write them for other processes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{number:03d}" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    return paths
