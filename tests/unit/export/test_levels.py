"""The outputs every exported file is held to."""

import numpy as np
import torch

from detco_core.export.levels import OUTPUTS, torch_levels
from detco_core.nets.backbone import StageBackbone


def test_levels_are_the_backbones_and_pooled_is_the_mean_of_the_last(backbone: StageBackbone) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 70, 41), dtype=np.float32)
    levels = torch_levels(backbone)(images)
    assert tuple(levels) == OUTPUTS == ("res2", "res3", "res4", "res5", "pooled")
    with torch.inference_mode():
        maps = backbone(torch.from_numpy(images))
    for name, expected, stride, channels in zip(OUTPUTS[:4], maps, backbone.strides, backbone.channels, strict=True):
        np.testing.assert_array_equal(levels[name], expected.numpy())
        assert levels[name].shape == (2, channels, -(-70 // stride), -(-41 // stride))
    np.testing.assert_allclose(levels["pooled"], levels["res5"].mean((2, 3)), rtol=1e-5, atol=1e-6)
