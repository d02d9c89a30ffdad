"""What one caller sends is no other's trouble, also where pictures run in one batch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.integration.serving.conftest import Door, noise, png
from tests.integration.serving.test_images import UNREADABLE

_TOGETHER = 16


def test_four_damaged_among_sixty_good(door: Door) -> None:
    damaged = [UNREADABLE[name] for name in ("half a PNG", "noise in a JPEG", "nothing", "a PNG without pixels")]
    requests = [door.good] * 60
    for number, data in enumerate(damaged):
        requests.insert(number * _TOGETHER + 5, data)
    with ThreadPoolExecutor(_TOGETHER) as callers:
        answers = list(callers.map(door.features, requests))
    for sent, answer in zip(requests, answers, strict=True):
        if sent is door.good:
            np.testing.assert_array_equal(door.tensors(answer)["res5"], door.expected)
        else:
            assert answer.status_code == 422


def test_pictures_of_other_sizes_in_one_form(door: Door) -> None:
    """Each as if it were alone."""
    pictures = [png(noise(20 + 7 * number, 50 - number)) for number in range(8)]
    files = [("image", (f"{number}.png", picture, "image/png")) for number, picture in enumerate(pictures)]
    together = door.tensors(door.client.post("/features", files=files))
    for number, picture in enumerate(pictures):
        alone = door.tensors(door.features(picture))["res5"]
        np.testing.assert_allclose(together[f"{number}/res5"], alone, rtol=1e-5, atol=1e-5)
