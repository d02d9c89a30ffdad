"""CPU time to decode a picture as a model takes it: 16 bits and many bands, beside the same picture of 8 bits.

    python -m benchmarks.pictures [--side 1000]

One thread, turn about, in the same run; what counts is the ratio to the 8-bit PNG. A PNG of 16-bit colour is decoded
twice, once for either byte of its values: `high bytes alone` is what once costs. Resizing and normalising are left out.
"""

import argparse
import io
import statistics
import struct
import time
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import imwrite

from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.images import Limits, decode

ROUNDS = 7
LIMITS = Limits(bytes=2**30)
BANDS = 6


def scene(side: int, channels: int) -> NDArray[np.uint16]:
    """Smooth, and noisy in its low byte, as a sensor's is."""
    x, y = np.meshgrid(np.linspace(0, 9, side), np.linspace(0, 7, side))
    smooth = np.stack([np.sin(x + n) * np.cos(y - n) for n in range(channels)], axis=2)
    return ((smooth + 1) * 32_000 + np.random.default_rng(0).integers(0, 256, smooth.shape)).astype(np.uint16)


def png(pixels: NDArray[np.uint16]) -> bytes:
    """RGB of 16 bits, each row as its difference to the one above, since Pillow writes none."""
    height, width, _ = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    differences = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    packed = zlib.compress(np.concatenate([np.full((height, 1), 2, np.uint8), differences], axis=1).tobytes())
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def tiff(pixels: NDArray[np.uint16], photometric: str, compression: str | None = None) -> bytes:
    file = io.BytesIO()
    imwrite(file, pixels, photometric=photometric, planarconfig="contig", compression=compression)
    return file.getvalue()


def cases(side: int) -> Mapping[str, Callable[[], object]]:
    """What is decoded, by name."""
    rgb, bands = scene(side, 3), scene(side, BANDS)
    deep, eight = InputSpec(bit_depth=16), InputSpec()
    many = InputSpec(channels=BANDS, mean=(0.5,) * BANDS, std=(0.2,) * BANDS, color="raw", bit_depth=16)
    file = io.BytesIO()
    Image.fromarray((rgb >> 8).astype(np.uint8)).save(file, "PNG")
    files = {
        "8-bit RGB PNG": (file.getvalue(), eight),
        "16-bit RGB PNG": (png(rgb), deep),
        "16-bit RGB PNG, high bytes alone": (png(rgb), eight),
        "16-bit RGB TIFF": (tiff(rgb, "rgb"), deep),
        "16-bit RGB TIFF, deflate": (tiff(rgb, "rgb", "zlib"), deep),
        f"16-bit TIFF of {BANDS} bands": (tiff(bands, "minisblack"), many),
        f"16-bit TIFF of {BANDS} bands, deflate": (tiff(bands, "minisblack", "zlib"), many),
    }
    return {name: _decoding(data, spec) for name, (data, spec) in files.items()}


def _decoding(data: bytes, spec: InputSpec) -> Callable[[], object]:
    return lambda: decode(data, LIMITS, spec=spec)


def measure(side: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time by name, one a round."""
    work = cases(side)
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, once in work.items():
            began = time.process_time()
            once()
            taken[name].append(1000 * (time.process_time() - began))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--side", type=int, default=1000, help="pixels")
    side = parser.parse_args().side
    found = measure(side)
    usual = statistics.median(found["8-bit RGB PNG"])
    print(f"{f'{side} x {side} pixels, decoded':<42} {'median':>8} {'least':>8} {'ratio':>8}")
    for name, taken in found.items():
        middle = statistics.median(taken)
        print(f"{name:<42} {middle:5.1f} ms {min(taken):5.1f} ms {middle / usual:8.2f}")


if __name__ == "__main__":
    main()
