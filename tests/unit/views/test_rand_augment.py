"""RandAugment's operations against torchvision's table, and how they are drawn."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op

from detco_core.contract.config import ViewsConfig
from detco_core.data.synthetic import photo
from detco_core.views.rand_augment import OPERATIONS, SIGNED, TOP_LEVEL, Step, draw_steps, rand_augment

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
}
SPACE = RandAugment(num_magnitude_bins=TOP_LEVEL + 1)._augmentation_space(TOP_LEVEL + 1, (72, 96))
FILL = (124, 116, 104)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def pixels() -> torch.Tensor:
    return torch.from_numpy(np.array(photo(3, (96, 72)))).permute(2, 0, 1)


def test_the_table_is_torchvisions() -> None:
    assert {THEIR_NAMES[name] for name in OPERATIONS} == set(SPACE)
    assert {THEIR_NAMES[name] for name in SIGNED} == {name for name, (_, signed) in SPACE.items() if signed}


@pytest.mark.parametrize(
    ("name", "sign"), [(name, sign) for name in OPERATIONS for sign in (1, -1) if sign > 0 or name in SIGNED]
)
@pytest.mark.parametrize("level", [0, 1, 10, 17, 30])
def test_operation_equals_torchvisions(name: str, sign: int, level: int) -> None:
    image = photo(3, (96, 72))
    magnitudes, _ = SPACE[THEIR_NAMES[name]]
    magnitude = sign * float(magnitudes[level]) if magnitudes.ndim else 0.0
    theirs = _apply_op(image, THEIR_NAMES[name], magnitude, InterpolationMode.NEAREST, list(FILL))
    ours = OPERATIONS[name](image, sign * level / TOP_LEVEL, FILL)
    differences = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max(axis=-1)
    # Their magnitudes are float32, ours float64: a level on the edge of rounding, a pixel of a sheared edge may move.
    assert (differences > 1).mean() < 0.01


def test_steps_are_applied_in_order() -> None:
    steps = (Step("solarize", 0.8), Step("rotate", 0.5))
    slow = OPERATIONS["rotate"](OPERATIONS["solarize"](photo(3, (96, 72)), 0.8, FILL), 0.5, FILL)
    view = rand_augment(pixels(), steps, ViewsConfig().statistics[0])
    assert view.dtype == torch.uint8
    assert np.array_equal(view.permute(1, 2, 0).numpy(), np.asarray(slow))
    assert tuple(view[:, 0, 0].tolist()) == FILL
    assert not torch.equal(rand_augment(pixels(), steps[::-1], ViewsConfig().statistics[0]), view)


def test_draws_are_a_function_of_the_generator() -> None:
    first, again, other = (draw_steps(ViewsConfig(), rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_operation_is_drawn_at_a_level_around_the_magnitude() -> None:
    generator, config = rng(8), ViewsConfig(rand_augment_ops=2, rand_augment_magnitude=10)
    steps = [step for _ in range(2000) for step in draw_steps(config, generator)]
    assert len(steps) == 4000
    levels = np.array([abs(step.share) for step in steps]) * TOP_LEVEL
    assert levels.mean() == pytest.approx(10, abs=0.05)
    assert levels.std() == pytest.approx(0.5, abs=0.05)
    for name in OPERATIONS:
        shares = [step.share for step in steps if step.name == name]
        assert len(shares) > 200
        backwards = sum(share < 0 for share in shares) / len(shares)
        assert backwards == pytest.approx(0.5 if name in SIGNED else 0.0, abs=0.12)


@pytest.mark.parametrize("magnitude", [0, 30])
def test_levels_stay_on_the_scale(magnitude: int) -> None:
    config, generator = ViewsConfig(rand_augment_magnitude=magnitude), rng(9)
    shares = [abs(step.share) for _ in range(100) for step in draw_steps(config, generator)]
    assert min(shares) >= 0
    assert max(shares) <= 1
