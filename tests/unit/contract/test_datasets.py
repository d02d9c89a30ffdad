"""What images can be brought to."""

import pytest

from detco_core.contract.datasets import fits_channels


@pytest.mark.parametrize(
    ("stored", "wanted", "fits"),
    [(3, 3, True), (1, 3, True), (4, 3, True), (3, 1, True), (2, 1, True), (5, 3, False), (3, 4, False), (6, 6, True)],
)
def test_grey_and_color_become_each_other_and_nothing_else_changes(stored: int, wanted: int, fits: bool) -> None:
    assert fits_channels(stored, wanted) == fits
    assert fits_channels(0, wanted)  # listed, not scanned
