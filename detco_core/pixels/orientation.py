"""EXIF orientation: what turns an image upright."""

from PIL import Image

TAG = 274
"""Of EXIF and of TIFF."""

_Flip = Image.Transpose
UPRIGHT = {
    2: _Flip.FLIP_LEFT_RIGHT,
    3: _Flip.ROTATE_180,
    4: _Flip.FLIP_TOP_BOTTOM,
    5: _Flip.TRANSPOSE,
    6: _Flip.ROTATE_270,
    7: _Flip.TRANSVERSE,
    8: _Flip.ROTATE_90,
}
"""What brings an image of this orientation upright; 1 is upright already."""


def lawful(value: object) -> int:
    """The orientation, 1 to 8, that a file gives; 1 where it gives none, or something else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
