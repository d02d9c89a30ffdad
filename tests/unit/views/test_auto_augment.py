"""AutoAugment's policy against torchvision's: the same table, and the same picture for the same draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy

from detco_core.contract.config import ViewsConfig
from detco_core.data.synthetic import photo
from detco_core.views.auto_augment import POLICY, TOP_LEVEL, draw_auto_augment
from detco_core.views.operations import SIGNED, apply_steps

MEAN = ViewsConfig().statistics[0]


class Drawn(np.random.Generator):
    """A generator that hands out what a test has drawn."""

    def __init__(self, pair: int, happens: list[float], signs: list[int]) -> None:
        super().__init__(np.random.Philox(0))
        self.pair, self.happens, self.signs = pair, happens, signs

    def integers(self, *args: object, size: int | None = None, **kwargs: object) -> object:  # type: ignore[override]  # fixed
        return self.pair if size is None else np.array(self.signs)

    def random(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # fixed draws
        return np.array(self.happens)


class Theirs(AutoAugment):  # type: ignore[misc]  # torchvision has no annotations
    def __init__(self, pair: int, happens: list[float], signs: list[int]) -> None:
        fill = [round(255 * value) for value in MEAN]
        super().__init__(AutoAugmentPolicy.IMAGENET, InterpolationMode.NEAREST, fill)
        self.drawn = pair, torch.tensor(happens), torch.tensor(signs)

    def get_params(self, transform_num: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        assert transform_num == len(POLICY)
        return self.drawn


@pytest.mark.parametrize("signs", [[0, 1], [1, 0]])
@pytest.mark.parametrize("pair", range(25))
def test_the_same_draw_gives_torchvisions_picture(pair: int, signs: list[int]) -> None:
    image = photo(3, (96, 72))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for happens in ([0.05, 0.05], [0.5, 0.5], [0.7, 0.3], [0.95, 0.95]):
        steps = draw_auto_augment(Drawn(pair, happens, signs))
        ours = apply_steps(pixels, steps, MEAN).permute(1, 2, 0).numpy().astype(int)
        theirs = np.asarray(Theirs(pair, happens, signs)(image)).astype(int)
        # Their magnitudes are float32, ours float64: a pixel of a turned edge may move.
        assert (np.abs(ours - theirs).max(axis=-1) > 1).mean() < 0.01


def test_pairs_are_drawn_evenly_and_operations_by_their_probability() -> None:
    rng = np.random.Generator(np.random.Philox(4))
    draws = [draw_auto_augment(rng) for _ in range(10_000)]
    # The share of views with an operation, summed over the table.
    expected = sum(chance.probability for pair in POLICY for chance in pair) / len(POLICY)
    assert np.mean([len(steps) for steps in draws]) == pytest.approx(expected, abs=0.03)
    assert {steps for steps in draws if not steps}
    shares = [share for steps in draws for name, share in steps if name == "rotate"]
    assert np.mean(np.array(shares) < 0) == pytest.approx(0.5, abs=0.03)
    assert {round(abs(share) * TOP_LEVEL, 6) for share in shares} == {3.0, 8.0, 9.0}
    assert all(share >= 0 for steps in draws for name, share in steps if name not in SIGNED)
