"""The loader: a batch is a function of its step, whoever loads it, wherever it starts, however it is shared out."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detco_core.contract.config import DataConfig, MethodConfig, RunConfig, TrainConfig, ViewsConfig
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.file_table import tabulate
from detco_core.data.images import ImageFiles, open_image
from detco_core.data.loaders import Batch, epoch_order, make_loader, steps_per_epoch
from detco_core.data.scan import scan
from detco_core.data.sources import InMemory
from detco_core.data.synthetic import write_shards
from detco_core.views.pipeline import ViewPipeline, sample_rng

VIEWS = ViewsConfig(global_size=32, local_size=48, patch_size=16)


def make_config(batch_size: int = 4, seed: int = 0, workers: int = 0) -> RunConfig:
    return RunConfig(
        seed=seed,
        train=TrainConfig(epochs=None, steps=12, batch_size=batch_size),
        data=DataConfig(workers=workers, decode_short_side=32),
        views=VIEWS,
        method=MethodConfig(queue_size=batch_size * 8),
    )


def open_files(root: Path) -> ImageFiles:
    return ImageFiles.open(DatasetRef(name="photos@1", kind="images", root=str(root)))


def load(
    root: Path, config: RunConfig, *, start: int = 0, steps: int = 12, rank: int = 0, world: int = 1
) -> list[Batch]:
    pipeline = ViewPipeline(config.views, local=True)
    return list(make_loader(open_files(root), pipeline, config, rank=rank, world=world, start_step=start, steps=steps))


def assert_equal(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    assert [(batch.step, batch.epoch, batch.broken) for batch in first] == [
        (batch.step, batch.epoch, batch.broken) for batch in second
    ]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.indices, b.indices)
        for view, other in zip(a.views, b.views, strict=True):
            assert view is not None
            assert other is not None
            assert torch.equal(view, other)


@pytest.fixture(scope="module")
def straight(photos: Path) -> list[Batch]:
    """Twelve steps of batches of four from twenty-three photos: two epochs and a bit."""
    return load(photos, make_config())


@pytest.mark.slow
def test_batches_equal_the_slow_loop(photos: Path, straight: list[Batch]) -> None:
    files, pipeline = open_files(photos), ViewPipeline(VIEWS, local=True)
    for step, batch in enumerate(straight):
        epoch, place = divmod(step, 23 // 4)
        indices = epoch_order(23, 0, epoch)[4 * place : 4 * place + 4].tolist()
        samples = [pipeline(open_image(files.bytes(n), 32), sample_rng(0, epoch, n)) for n in indices]
        assert (batch.step, batch.epoch, batch.indices.tolist(), batch.broken) == (step, epoch, indices, ())
        assert torch.equal(batch.views.global_query, torch.stack([views.global_query for views in samples]))
        local_keys = [views.local_key for views in samples if views.local_key is not None]
        assert batch.views.local_key is not None
        assert torch.equal(batch.views.local_key, torch.stack(local_keys))


def test_an_epoch_sees_every_image_at_most_once_and_drops_the_rest(straight: list[Batch]) -> None:
    for epoch in (0, 1):
        seen = [n for batch in straight if batch.epoch == epoch for n in batch.indices.tolist()]
        assert len(seen) == len(set(seen)) == 20
    first, second = (epoch_order(23, 0, epoch).tolist() for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second
    assert epoch_order(23, 1, 0).tolist() != first


def test_the_order_is_fixed() -> None:
    # A stored value: the data order of a running experiment must not change under a new version of ours or of NumPy.
    assert epoch_order(8, 7, 3).tolist() == [3, 2, 0, 5, 1, 7, 6, 4]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=6)
@given(start=st.integers(0, 12), end=st.integers(0, 12))
def test_resuming_at_any_step_continues_the_same_batches(
    photos: Path, straight: list[Batch], start: int, end: int
) -> None:
    assert_equal(load(photos, make_config(), start=start, steps=end), straight[start:end])


def pipeline_of(**views: Any) -> tuple[RunConfig, ViewPipeline]:
    config = make_config()
    config = replace(config, views=replace(VIEWS, **views))
    return config, ViewPipeline(config.views, local=True)


def batches_of(files: ImageFiles, config: RunConfig, pipeline: ViewPipeline, start: int, steps: int) -> list[Batch]:
    return list(make_loader(files, pipeline, config, rank=0, world=1, start_step=start, steps=steps))


@pytest.fixture(scope="module")
def stores(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageFiles]:
    """The same photos as a folder, as a list of files, in tar shards and in memory."""
    folder = tmp_path_factory.mktemp("stores")
    names = sorted(path.name for path in photos.iterdir())
    images = [(photos / name).read_bytes() for name in names]
    (folder / "list.txt").write_text("\n".join(names))
    for name, image in zip(names, images, strict=True):
        (folder / name).write_bytes(image)
    memory = InMemory(dict(zip(names, images, strict=True)))
    return {
        "folder": open_files(photos),
        "list": open_files(folder / "list.txt"),
        "shards": open_files(write_shards(folder / "shards", images, 5)),
        "memory": ImageFiles("photos@1", "memory", memory, tabulate(memory.listing().files)),
    }


VARIANTS: list[dict[str, Any]] = [
    {},
    {"augment": "auto_augment", "patch_colors": "patch"},
    {"channels": 1, "bit_depth": 16, "mean": (0.5,), "std": (0.2,)},
]


@pytest.mark.slow
@settings(max_examples=10)
@given(
    store=st.sampled_from(["folder", "list", "shards", "memory"]),
    variant=st.sampled_from(VARIANTS),
    start=st.integers(0, 12),
    length=st.integers(0, 3),
)
def test_order_and_augmentation_do_not_change_on_resume_wherever_the_images_lie(
    stores: dict[str, ImageFiles], store: str, variant: dict[str, Any], start: int, length: int
) -> None:
    config, pipeline = pipeline_of(**variant)
    whole = batches_of(stores["folder"], config, pipeline, max(0, start - 1), start + length)
    resumed = batches_of(stores[store], config, pipeline, start, start + length)
    assert_equal(resumed, whole[min(start, 1) :])


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_load_the_batches_of_one_process(photos: Path, straight: list[Batch], world: int) -> None:
    ranks = [load(photos, make_config(), rank=rank, world=world, steps=6) for rank in range(world)]
    for step in range(6):
        parts = [ranks[rank][step] for rank in range(world)]
        assert torch.equal(torch.cat([part.indices for part in parts]), straight[step].indices)
        for place, whole in enumerate(straight[step].views):
            views = [part.views[place] for part in parts]
            assert whole is not None
            assert torch.equal(torch.cat([view for view in views if view is not None]), whole)


@pytest.mark.parametrize("batch_size", [2, 3])
def test_a_sample_does_not_depend_on_the_batch_it_is_in(photos: Path, straight: list[Batch], batch_size: int) -> None:
    def by_image(batches: list[Batch]) -> dict[int, torch.Tensor]:
        return {
            int(n): view
            for batch in batches
            if batch.epoch == 0
            for n, view in zip(batch.indices, batch.views.global_key, strict=True)
        }

    whole, other = by_image(straight), by_image(load(photos, make_config(batch_size), steps=7))
    shared = whole.keys() & other.keys()
    assert len(shared) > 10
    assert all(torch.equal(whole[n], other[n]) for n in shared)


def test_seed_and_epoch_change_views_of_the_same_image(photos: Path, straight: list[Batch]) -> None:
    views: dict[int, list[torch.Tensor]] = {}
    for batch in [*straight, *load(photos, make_config(seed=5), steps=5)]:
        for n, view in zip(batch.indices.tolist(), batch.views.global_query, strict=True):
            views.setdefault(n, []).append(view)
    repeated = [seen for seen in views.values() if len(seen) > 1]
    assert len(repeated) > 15
    assert all(not torch.equal(seen[0], view) for seen in repeated for view in seen[1:])


def test_loading_leaves_the_global_random_numbers_alone(photos: Path) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state()
    load(photos, make_config(), steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_local_views_there_are_none(photos: Path) -> None:
    pipeline = ViewPipeline(VIEWS, local=False)
    loader = make_loader(open_files(photos), pipeline, make_config(), rank=0, world=1, start_step=0, steps=1)
    views = next(loader).views
    assert views.global_query.shape == (4, 3, 32, 32)
    assert views.local_query is None
    assert views.local_key is None


@pytest.fixture
def damaged(photos: Path, tmp_path: Path) -> Path:
    """The photos, of which 3, 4 and 11 were damaged after the scan."""
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    for n, content in ((3, b"no picture"), (4, b""), (11, (root / "photo-0011.jpg").read_bytes()[:300])):
        (root / f"photo-{n:04d}.jpg").write_bytes(content)
    return root


def test_broken_files_are_replaced_by_the_next_readable_and_reported(damaged: Path, straight: list[Batch]) -> None:
    bad, found = {3, 4, 11}, load(damaged, make_config())
    for whole, batch in zip(straight, found, strict=True):
        order = epoch_order(23, 0, batch.epoch).tolist()
        for place, (wanted, got) in enumerate(zip(whole.indices.tolist(), batch.indices.tolist(), strict=True)):
            position = order.index(wanted)
            candidates = (order[(position + ahead) % 23] for ahead in range(23))
            assert got == next(n for n in candidates if n not in bad)
            if wanted == got:
                assert torch.equal(batch.views.global_query[place], whole.views.global_query[place])
        assert set(batch.broken) >= {f"photo-{n:04d}.jpg" for n in whole.indices.tolist() if n in bad}
        assert len(set(batch.broken)) == len(batch.broken)
    assert {name for batch in found for name in batch.broken} == {f"photo-{n:04d}.jpg" for n in bad}


def test_a_replacement_does_not_repeat_a_sample_of_its_batch(damaged: Path) -> None:
    for batch in load(damaged, make_config(batch_size=23), steps=1):
        assert len(set(batch.indices.tolist())) == 20
        flat = batch.views.global_query.flatten(1)
        assert len({row.numpy().tobytes() for row in flat}) == 23


def test_replacements_are_the_same_from_every_rank(damaged: Path) -> None:
    whole = load(damaged, make_config(batch_size=8), steps=2)
    parts = [load(damaged, make_config(batch_size=8), steps=2, rank=rank, world=2) for rank in range(2)]
    for step in range(2):
        assert torch.equal(torch.cat([parts[0][step].indices, parts[1][step].indices]), whole[step].indices)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_whole_batch_of_broken_files_is_an_error(photos: Path, tmp_path: Path, workers: int) -> None:
    root = tmp_path / "gone"
    shutil.copytree(photos, root)
    config = make_config(workers=workers)
    loader = make_loader(
        open_files(root), ViewPipeline(VIEWS, local=True), config, rank=0, world=1, start_step=0, steps=9
    )
    shutil.rmtree(root)
    with pytest.raises(DataError, match=r"^a whole batch of photos@1, 5 files, cannot be read.*No such file"):
        next(loader)


def test_a_small_data_set_and_an_odd_world_are_refused_with_the_remedy(photos: Path) -> None:
    files, pipeline = open_files(photos), ViewPipeline(VIEWS, local=True)
    assert steps_per_epoch(files, make_config(4)) == 5
    assert steps_per_epoch(files, make_config(23)) == 1
    with pytest.raises(DataError, match=r"23 readable images, fewer than one batch of 24: set train.batch_size"):
        steps_per_epoch(files, make_config(24))
    with pytest.raises(DataError, match="does not divide by 3 processes"):
        make_loader(files, pipeline, make_config(4), rank=0, world=3, start_step=0, steps=1)


@pytest.mark.slow
def test_worker_processes_read_shards_too(stores: dict[str, ImageFiles], straight: list[Batch]) -> None:
    config, pipeline = make_config(workers=2), ViewPipeline(VIEWS, local=True)
    assert_equal(batches_of(stores["shards"], config, pipeline, 5, 12), straight[5:])


def test_images_of_other_channels_are_refused_at_once_or_when_met(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 8, 5), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((8, 8, 4), np.uint8))
    config, pipeline = pipeline_of(channels=4, mean=(0.5,) * 4, std=(0.5,) * 4)
    config = replace(config, train=replace(config.train, batch_size=2))
    batch = next(make_loader(open_files(tmp_path), pipeline, config, rank=0, world=1, start_step=0, steps=1))
    assert batch.broken == ("a.npy",)
    assert batch.indices.tolist() == [1, 1]
    assert batch.views.global_query.shape == (2, 4, 32, 32)
    report = scan(CheckJob(folder=str(tmp_path), root=str(tmp_path)))
    manifest = str(tmp_path / "manifest.jsonl")
    scanned = ImageFiles.open(
        DatasetRef(name="n@1", kind="images", root=str(tmp_path), manifest=manifest, digest=report.digest)
    )
    with pytest.raises(DataError, match=r"other than 4 channels \(1 of 4, 1 of 5; e\.g\. a\.npy\)"):
        make_loader(scanned, pipeline, config, rank=0, world=1, start_step=0, steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_no_number(photos: Path, damaged: Path, straight: list[Batch], workers: int) -> None:
    assert_equal(load(photos, make_config(workers=workers)), straight)
    assert_equal(load(photos, make_config(workers=workers), start=7), straight[7:])
    assert_equal(load(damaged, make_config(workers=workers)), load(damaged, make_config()))
