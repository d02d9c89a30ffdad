"""The policies' operations against torchvision's, and that steps are applied in order."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy, RandAugment, _apply_op

from detco_core.contract.config import ViewsConfig
from detco_core.data.synthetic import photo
from detco_core.views.operations import OPERATIONS, SIGNED, Step, apply_steps
from detco_core.views.rand_augment import NAMES, TOP_LEVEL

THEIR_NAMES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
}
SPACE = RandAugment(num_magnitude_bins=TOP_LEVEL + 1)._augmentation_space(TOP_LEVEL + 1, (72, 96))
FILL = (124, 116, 104)


def pixels() -> torch.Tensor:
    return torch.from_numpy(np.array(photo(3, (96, 72)))).permute(2, 0, 1)


def test_the_table_is_torchvisions() -> None:
    assert {THEIR_NAMES[name] for name in NAMES} == set(SPACE)
    assert set(OPERATIONS) - set(NAMES) == {"invert"}
    ten_levels = AutoAugment(AutoAugmentPolicy.IMAGENET)._augmentation_space(10, (72, 96))
    assert {THEIR_NAMES[name] for name in OPERATIONS} == set(ten_levels) | {"Identity"}
    assert {THEIR_NAMES[name] for name in SIGNED} == {name for name, (_, signed) in SPACE.items() if signed}


@pytest.mark.parametrize(
    ("name", "sign"), [(name, sign) for name in OPERATIONS for sign in (1, -1) if sign > 0 or name in SIGNED]
)
@pytest.mark.parametrize("level", [0, 1, 10, 17, 30])
def test_operation_equals_torchvisions(name: str, sign: int, level: int) -> None:
    image = photo(3, (96, 72))
    magnitudes, _ = SPACE.get(THEIR_NAMES[name], (torch.tensor(0.0), False))
    magnitude = sign * float(magnitudes[level]) if magnitudes.ndim else 0.0
    theirs = _apply_op(image, THEIR_NAMES[name], magnitude, InterpolationMode.NEAREST, list(FILL))
    ours = OPERATIONS[name](image, sign * level / TOP_LEVEL, FILL)
    differences = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max(axis=-1)
    # Their magnitudes are float32, ours float64: a level on the edge of rounding, a pixel of a sheared edge may move.
    assert (differences > 1).mean() < 0.01


def test_steps_are_applied_in_order() -> None:
    steps = (Step("solarize", 0.8), Step("rotate", 0.5))
    slow = OPERATIONS["rotate"](OPERATIONS["solarize"](photo(3, (96, 72)), 0.8, FILL), 0.5, FILL)
    view = apply_steps(pixels(), steps, ViewsConfig().statistics[0])
    assert view.dtype == torch.uint8
    assert np.array_equal(view.permute(1, 2, 0).numpy(), np.asarray(slow))
    assert tuple(view[:, 0, 0].tolist()) == FILL
    assert not torch.equal(apply_steps(pixels(), steps[::-1], ViewsConfig().statistics[0]), view)
