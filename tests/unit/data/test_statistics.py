"""Statistics of channels: against NumPy on all pixels, on a fixed sample, the same from a scan and by hand."""

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detco_core.contract.config import MethodConfig, RunConfig, TrainConfig, ViewsConfig
from detco_core.contract.datasets import ChannelStatistics, DatasetFile, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data import statistics
from detco_core.data.file_table import tabulate
from detco_core.data.images import ImageFiles
from detco_core.data.scan import scan
from detco_core.data.sources import InMemory
from detco_core.data.statistics import check_channels, measure, resolve_statistics
from detco_core.data.synthetic import write_photos


def array_of(seed: int, channels: int, dtype: str = "uint8") -> NDArray[np.generic]:
    rng = np.random.default_rng(seed)
    top = rng.integers(50, np.iinfo(dtype).max, channels)
    return (rng.random((20, 16, channels)) * top).astype(dtype)


def in_memory(arrays: Mapping[str, NDArray[np.generic]]) -> InMemory:
    files = {}
    for name, array in arrays.items():
        file = BytesIO()
        np.save(file, array)
        files[name] = file.getvalue()
    return InMemory(files)


def opened(source: InMemory, counts: Mapping[str, int] | None = None) -> ImageFiles:
    files = [replace(file, channels=(counts or {}).get(file.path, 0)) for file in source.listing().files]
    return ImageFiles("m@1", "memory", source, tabulate(files))


def config(**views: object) -> RunConfig:
    return RunConfig(
        train=TrainConfig(epochs=None, steps=1, batch_size=2),
        views=ViewsConfig(**views),  # type: ignore[arg-type]  # any of its fields
        method=MethodConfig(queue_size=2),
    )


REF = DatasetRef(name="m@1", kind="images", root="/memory")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_mean_and_spread_equal_numpys_over_all_pixels(channels: int, dtype: str) -> None:
    arrays = {f"{n}.npy": array_of(n, channels, dtype) for n in range(6)}
    files = opened(in_memory(arrays))
    views = ViewsConfig(channels=channels, bit_depth=16 if dtype == "uint16" else 8)
    found = measure(files.source, files.table, np.arange(6), views)
    every = np.concatenate([array.reshape(-1, channels) for array in arrays.values()]) / float(np.iinfo(dtype).max)
    np.testing.assert_allclose(found.mean, every.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std, every.std(0), atol=1e-6)
    assert (found.images, found.bit_depth) == (6, views.bit_depth)


def test_large_sets_are_measured_on_a_fixed_sample_spread_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 5)
    arrays = {f"{n:02d}.npy": np.full((4, 4), 2 * n, np.uint8) for n in range(21)}
    files = opened(in_memory(arrays))
    found = measure(files.source, files.table, np.arange(21), ViewsConfig(channels=1))
    assert found.mean == (round(20 / 255, 6),)
    assert found.images == 21
    assert found == measure(files.source, files.table, np.arange(21), ViewsConfig(channels=1))


def test_unreadable_images_are_passed_over_and_a_dead_channel_can_be_divided_by() -> None:
    source = in_memory({"a.npy": np.full((4, 4), 51, np.uint8)})
    files = opened(InMemory({**source.images, "b.npy": b"broken"}))
    found = measure(files.source, files.table, np.arange(2), ViewsConfig(channels=1))
    assert (found.mean, found.std) == ((0.2,), (round(1 / 255, 6),))
    only_broken = opened(InMemory({"b.npy": b"broken"}))
    with pytest.raises(DataError, match=r"no image could be measured; b\.npy: not an image"):
        measure(only_broken.source, only_broken.table, np.arange(1), ViewsConfig(channels=1))


def test_a_run_takes_what_is_given_then_imagenets_then_the_scans_then_its_own() -> None:
    files = opened(in_memory({f"{n}.npy": array_of(n, 4) for n in range(3)}))
    given = config(channels=4, mean=(0.1,) * 4, std=(0.2,) * 4)
    assert resolve_statistics(given, REF, files) == given
    rgb = opened(InMemory({"a.jpg": b"never opened"}))
    assert resolve_statistics(config(), REF, rgb) == config()
    scanned = ChannelStatistics(images=3, mean=(0.3,) * 4, std=(0.4,) * 4)
    found = resolve_statistics(config(channels=4), replace(REF, statistics={"4": scanned}), files)
    assert (found.views.mean, found.views.std) == (scanned.mean, scanned.std)
    own = resolve_statistics(config(channels=4), REF, files).views
    # The scan saw fewer images with four channels than this run will.
    partly = replace(REF, statistics={"4": replace(scanned, images=2)})
    assert resolve_statistics(config(channels=4), partly, files).views == own
    assert own.statistics == (own.mean, own.std)
    assert own.mean != scanned.mean


def test_by_hand_equals_the_scan(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for n in range(4):
        np.save(tmp_path / "root" / f"{n}.npy", array_of(n, 6, "uint16"))
    report = scan(CheckJob(folder=str(tmp_path), root=str(tmp_path / "root")))
    assert set(report.statistics) == {"6"}
    by_hand = DatasetRef(name="m", kind="images", root=str(tmp_path / "root"))
    files = ImageFiles.open(by_hand)
    measured = resolve_statistics(config(channels=6, bit_depth=16), by_hand, files)
    assert report.statistics["6"].bit_depth == 16
    scanned = resolve_statistics(
        config(channels=6, bit_depth=16), replace(by_hand, statistics=report.statistics), files
    )
    assert measured == scanned


def test_a_scan_measures_each_count_of_channels(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "root", 4, (64, 48))
    np.save(tmp_path / "root" / "a.npy", array_of(0, 1))
    report = scan(CheckJob(folder=str(tmp_path), root=str(tmp_path / "root")))
    assert {key: found.images for key, found in report.statistics.items()} == {"1": 1, "3": len(paths)}
    assert all(0.05 < value < 0.95 for found in report.statistics.values() for value in found.mean + found.std)


@pytest.mark.parametrize(
    ("stored", "wanted", "fits"),
    [
        *((1, 3, True), (3, 1, True), (4, 3, True), (2, 1, True), (0, 7, True), (5, 5, True)),
        *((5, 3, False), (3, 5, False), (1, 2, False), (3, 4, False), (9, 1, False)),
    ],
)
def test_channels_are_checked_before_anything_is_loaded(stored: int, wanted: int, fits: bool) -> None:
    table = tabulate([DatasetFile(path="a.npy", bytes=1, width=1, height=1, channels=stored)])
    files = ImageFiles("m@1", "memory", InMemory({}), table)
    if fits:
        check_channels(files, ViewsConfig(channels=wanted))
    else:
        with pytest.raises(DataError, match=rf"m@1 holds images of other than {wanted} channels \(1 of {stored}; e.g"):
            check_channels(files, ViewsConfig(channels=wanted))
