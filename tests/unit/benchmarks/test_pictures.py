"""The benchmark of decoding decodes what it says."""

from io import BytesIO

import numpy as np
from PIL import Image

from benchmarks.pictures import LIMITS, cases, measure, png, scene
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.images import decode


def test_every_case_is_decoded_and_measured() -> None:
    assert list(measure(8)) == list(cases(8))


def test_its_picture_is_sixteen_bits_deep() -> None:
    decoded = decode(png(scene(9, 3)), LIMITS, spec=InputSpec(bit_depth=16))
    assert isinstance(decoded.picture, tuple)
    np.testing.assert_array_equal(np.stack([np.asarray(plane) for plane in decoded.picture], axis=2), scene(9, 3))
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png(scene(9, 3))))), scene(9, 3) >> 8)
