"""The extraction job: every image once, equal to the inference package's own answer, whatever happens in between."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import BundleError, DataError, OutOfMemory
from detco_core.contract.events import ArtifactSaved, Progress, Reported, Started, Warned
from detco_core.contract.extractions.files import FOLDER, INDEX_FILE, read_index
from detco_core.contract.extractions.report import ExtractionReport
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.manifest import MANIFEST_FILE, read_manifest
from detco_core.contract.reader import plain, read
from detco_core.extraction.atomic import describe
from detco_core.extraction.computing import Computer
from detco_core.inference import Backbone
from detco_core.inference.sessions.execution import Execution
from detco_core.inference.sessions.session import Session
from tests.unit.extraction.conftest import BROKEN, entries, extract, files, write_json

Make = Callable[..., ExtractJob]


@pytest.mark.parametrize(
    "options",
    [
        {"levels": ["res3", "res5"], "shard_images": 5},
        {"levels": ["res4"], "dtype": "int8", "resize": {"short_side": 40, "max_side": 60}},
        {"levels": ["res2", "res5"], "pool": "avg", "normalize": "l2", "dtype": "float16", "shard_images": 4},
        {"levels": ["res3"], "pool": "gem", "gem_p": 2.0},
    ],
)
def test_what_lies_in_the_shards_is_what_inference_answers(
    make_job: Make, bundle: Path, photos: Path, options: dict[str, Any]
) -> None:
    job = make_job(options=options)
    extract(job)
    backbone = Backbone(bundle, providers=["CPUExecutionProvider"])
    wishes = {key: options[key] for key in ("pool", "gem_p", "normalize", "dtype") if key in options}
    found = entries(job)
    assert len(found) == 12
    for image, (shard, entry) in found.items():
        if image == BROKEN:
            assert entry.error is not None
            assert entry.error.code == "unreadable"
            continue
        expected = backbone.features(photos / image, levels=options["levels"], resize=job.options.resize, **wishes)
        assert entry.network == expected.geometry.network
        assert entry.scales == expected.scales
        tensors = load_file(Path(job.folder) / FOLDER / shard)
        for level, array in expected.tensors.items():
            stacked = (
                tensors[level][entry.row : entry.row + 1] if "pool" in options else tensors[f"{entry.row}/{level}"]
            )
            np.testing.assert_array_equal(stacked, array)
            assert stacked.dtype == array.dtype


def test_it_tells_names_every_file_and_reports(make_job: Make) -> None:
    job = make_job(options={"shard_images": 5}, model="m:1", licenses={"data set photos@1": "CC0"})
    first, *middle, last = extract(job)
    assert isinstance(first, Started)
    assert first.resumed_from is None
    assert first.environment["device"] == "cpu"
    artifacts = [body for body in middle if isinstance(body, ArtifactSaved)]
    names = [f"{n:05}.{kind}" for n in range(3) for kind in ("safetensors", "jsonl")] + [INDEX_FILE]
    assert [artifact.name for artifact in artifacts] == [f"{FOLDER}/{name}" for name in names]
    for artifact in artifacts:
        found = describe(Path(job.folder) / artifact.path)
        assert (found.bytes, found.sha256) == (artifact.bytes, artifact.sha256)
    steps = [body.step for body in middle if isinstance(body, Progress)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 12)
    assert isinstance(last, Reported)
    report = read(ExtractionReport, last.report)
    assert (report.images, report.broken, report.shards) == (12, 1, 3)
    assert [image.path for image in report.broken_images] == [BROKEN]
    index = read_index(Path(job.folder) / FOLDER / INDEX_FILE)
    assert (index.model, index.licenses) == ("m:1", {"data set photos@1": "CC0"})
    assert [level.name for level in index.levels] == ["res5"]
    assert [shard.images for shard in index.shards] == [5, 5, 2]


def test_on_a_gpu_neighbours_of_one_size_go_together_and_shards_are_cut_the_same(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a machine without one can show it: the provider's name decides about batches."""
    options = {"levels": ["res4"], "shard_images": 5, "batch_size": 2}
    alone = make_job("alone", options)
    extract(alone)
    sizes: list[int] = []

    def stage(self: Session, arrays: Sequence[Any], outputs: Any, really: Any = Session.stage) -> Any:
        sizes.append(len(arrays))
        return really(self, arrays, outputs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "provider", property(lambda self: "CUDAExecutionProvider"))
        patch.setattr(Session, "stage", stage)
        together = make_job("together", options)
        events = extract(together)
    assert max(sizes) == 2
    assert sum(sizes) == 11
    assert [body.code for body in events if isinstance(body, Warned)] == ["provider_fallback"]
    for image, (shard, entry) in entries(alone).items():
        assert entries(together)[image] == (shard, entry)
        if entry.error is None:
            one, other = (
                load_file(Path(job.folder) / FOLDER / shard)[f"{entry.row}/res4"] for job in (alone, together)
            )
            np.testing.assert_allclose(other, one, atol=1e-4)


def test_images_too_large_to_lie_side_by_side_get_what_they_get_there(
    make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three sizes, alternating; the largest is computed alone, in a session of three threads."""
    opened: list[int | None] = []

    def open_(bundle: Path, execution: Execution, really: Any = Session.open) -> Session:
        opened.append(execution.threads)
        session: Session = really(bundle, execution)
        return session

    monkeypatch.setattr(Session, "open", open_)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    options = {"levels": ["res4"], "resize": "none", "shard_images": 5}
    beside = make_job("beside", options)
    extract(beside)
    assert opened == [1]
    monkeypatch.setattr("detco_core.extraction.lanes.MAX_NETWORK_PIXELS", 3 * 64 * 64 - 1)
    mixed = make_job("mixed", options)
    extract(mixed)
    assert opened == [1, 1, 3]
    assert files(mixed) == files(beside)


def test_what_is_finished_is_not_computed_again(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(options={"shard_images": 5})
    extract(job)
    before = files(job)
    monkeypatch.setattr(Computer, "compute", None)
    extract(job)
    assert files(job) == before


def test_shards_of_another_question_are_refused(make_job: Make) -> None:
    extract(make_job())
    with pytest.raises(DataError, match="holds shards of another extraction"):
        extract(make_job(options={"levels": ["res4"]}))


def test_boxes_give_rows_and_images_without_any_give_none(
    make_job: Make, photos: Path, bundle: Path, tmp_path: Path
) -> None:
    boxes = {"d/00.png": [[1, 2, 30, 25], [0, 0, 99, 9]], "e/01.png": [], "d/02.png": [[5, 5, 5, 9]], "01.png": []}
    job = make_job(options={"levels": ["res3"], "roi_size": 3}, boxes=write_json(tmp_path / "boxes.json", boxes))
    (warning,) = [body for body in extract(job) if isinstance(body, Warned)]
    assert (warning.code, warning.details) == ("boxes_unused", {"count": 1, "names": ["01.png"]})
    found = entries(job)
    shard, entry = found["d/00.png"]
    assert (entry.rows, entry.clipped) == (2, (1,))
    expected = Backbone(bundle, providers=["CPUExecutionProvider"]).features(
        photos / "d/00.png", levels=["res3"], boxes=[(1, 2, 30, 25), (0, 0, 99, 9)], roi_size=3
    )
    stacked = load_file(Path(job.folder) / FOLDER / shard)["res3"]
    assert stacked.shape == (2, 6, 3, 3)
    np.testing.assert_array_equal(stacked[entry.row : entry.row + 2], expected.tensors["res3"])
    assert found["e/01.png"][1].rows == 0
    assert found["d/02.png"][1].error is not None
    assert found["d/02.png"][1].error.code == "boxes"


def test_one_split_alone(make_job: Make) -> None:
    job = make_job(options={"split": "two"})
    extract(job)
    assert all(image.startswith("e/") and entry.split == "two" for image, (_, entry) in entries(job).items())
    with pytest.raises(DataError, match="no images in split 'three'; its splits: one, two"):
        extract(make_job("other", {"split": "three"}))


def test_more_bytes_than_allowed_are_refused_before_the_first_image(make_job: Make) -> None:
    job = make_job(options={"levels": ["res2"]}, max_bytes=1000)
    with pytest.raises(DataError, match=r"about \d+ bytes, and at most 1000 are allowed: pool them"):
        extract(job)
    assert not entries(job)


def test_a_listed_root_is_stopped_where_it_exceeds_the_bound(make_job: Make, photos: Path) -> None:
    listed = DatasetRef(name="here", kind="images", root=str(photos))
    job = replace(make_job(options={"levels": ["res2"], "shard_images": 1}, max_bytes=2000), dataset=listed)
    with pytest.raises(DataError, match="at most 2000 are allowed"):
        extract(job)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"weights_digest": "sha256:0"}, "expected were sha256:0"), ({"options": {"levels": ["p2"]}}, "p2")],
)
def test_another_model_than_meant_is_refused(make_job: Make, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        extract(make_job(**fields))


def test_more_memory_than_there_is_names_the_size_and_the_remedy(make_job: Make, tmp_path: Path, bundle: Path) -> None:
    """Really asked of the machine: a network that pads an image to 2**54 pixels."""
    greedy = tmp_path / "greedy"
    shutil.copytree(bundle, greedy)
    model = onnx.load(greedy / "model.onnx")
    (pads,) = (one for one in model.graph.node[0].attribute if one.name == "pads")
    pads.ints[:] = [2**26] * 4
    (greedy / "model.onnx").write_bytes(model.SerializeToString())
    manifest = read_manifest(greedy)
    file = replace(manifest.files["onnx"], sha256=describe(greedy / "model.onnx").sha256)
    (greedy / MANIFEST_FILE).write_text(json.dumps(plain(replace(manifest, files={"onnx": file}))))
    job = replace(make_job(), bundle=str(greedy))
    with pytest.raises(OutOfMemory, match=r"1 image of \d+x\d+ at once \(.*bad_alloc.*\); ask for .*resize") as found:
        extract(job)
    assert found.value.kind == "out_of_memory"


def test_when_no_image_can_be_read_it_fails_naming_one(make_job: Make) -> None:
    with pytest.raises(DataError, match=r"all 12 are broken, e.g. d/00.png: the file has \d+ bytes; at most 10"):
        extract(make_job(max_image_bytes=10))


def test_it_waits_while_nobody_takes_its_shards(make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    job = make_job(options={"shard_images": 4}, most_waiting=1)

    def take_away(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) % 2 == 0:
            for shard in (Path(job.folder) / FOLDER).glob("*.safetensors"):
                shard.unlink()

    monkeypatch.setattr("detco_core.extraction.job.time.sleep", take_away)
    extract(job)
    assert len(waits) == 4
