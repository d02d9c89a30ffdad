"""Each kind of run becomes a job whose inputs are in its folder, verified."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from control.db.models import DatasetVersion, ModelVersion, Run, Weights, Worker
from control.db.session import open_engine, unit_of_work
from control.errors import StoreError
from control.records.datasets.datasets import NewDataset, add_dataset
from control.records.journal import history
from control.records.life import feed
from control.records.models import registry
from control.records.models.registry import NewVersion
from control.records.models.weights import NewWeights, add_weights
from control.records.store import uploads
from control.settings import Settings
from control.storage.archives import survey
from control.storage.base import file_digest, key_of
from detco_core.contract.errors import DataError, InvalidDocument
from detco_core.contract.events import ArtifactSaved, Event
from detco_core.contract.jobs import CheckJob, EvaluateJob, ExportJob, ExtractJob, ImportJob, PretrainJob, read_job
from detco_core.contract.manifest import EXPORT_FORMATS, InputSpec, Sizing
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain
from tests.unit.worker.house import House
from worker.attempts.folder import open_folder
from worker.inputs.prepare import Prepared, prepare
from worker.inputs.unpacked import Unpacked
from worker.processes import Mark


def prepared(house: House, queue: Any = "gpu") -> tuple[Prepared, Path]:
    """Claim the next run and prepare it."""
    claim = house.claim(queue)
    mark = Mark(claim.run_id, claim.fence)
    folder = open_folder(house.settings.work_dir, mark)
    return prepare(house.engine, house.services.place, house.services.unpacked(), mark, folder), folder


def damage(house: House, key: str) -> None:
    (house.settings.data_dir / "artifacts" / key).write_bytes(b"damaged")


class TestPretraining:
    def test_a_first_attempt_reads_the_data_where_they_are(self, house: House) -> None:
        run_id = house.pretraining(steps=7)
        job, folder = prepared(house)
        assert (job.verb, job.processes, job.gpus) == ("pretrain", 1, ())
        assert job.threads >= 1
        document = read_job(PretrainJob, folder / "job.json")
        assert (document.folder, document.run, document.resume) == (str(folder), run_id, None)
        assert document.config.train.steps == 7
        assert document.dataset.root == house.photos.root
        assert document.dataset.digest == house.photos.digest
        assert document.dataset.manifest is not None
        assert Path(document.dataset.manifest).read_bytes() == b""

    def test_an_attempt_that_was_taken_back_meanwhile_ends_as_a_stale_one_not_as_a_crash(self, house: House) -> None:
        house.pretraining()
        claim = house.claim("gpu")
        with unit_of_work(house.engine) as session:
            session.get_one(Run, claim.run_id).fence += 1
        mark = Mark(claim.run_id, claim.fence)
        folder = open_folder(house.settings.work_dir, mark)
        assert prepare(house.engine, house.services.place, house.services.unpacked(), mark, folder).verb == "pretrain"

    def test_a_later_one_continues_from_the_newest_checkpoint(self, house: House) -> None:
        run_id = house.pretraining()
        house.checkpoint(run_id, 4, b"four")
        house.checkpoint(run_id, 2, b"two")
        _, folder = prepared(house)
        document = read_job(PretrainJob, folder / "job.json")
        assert document.resume is not None
        assert Path(document.resume).read_bytes() == b"four"
        assert document.resume_sha256 is not None

    def test_a_damaged_checkpoint_costs_its_steps_only(self, house: House) -> None:
        run_id = house.pretraining()
        house.checkpoint(run_id, 2, b"two")
        house.checkpoint(run_id, 4, b"four")
        newest = house.ask(lambda s: history.newest_checkpoint(s, run_id))
        damage(house, newest.key)
        _, folder = prepared(house)
        document = read_job(PretrainJob, folder / "job.json")
        assert document.resume is not None
        assert Path(document.resume).read_bytes() == b"two"

    def test_without_any_usable_checkpoint_it_begins_anew(self, house: House) -> None:
        run_id = house.pretraining()
        house.checkpoint(run_id, 4, b"four")
        damage(house, house.ask(lambda s: history.newest_checkpoint(s, run_id)).key)
        _, folder = prepared(house)
        assert read_job(PretrainJob, folder / "job.json").resume is None

    def test_an_unknown_key_of_the_config_is_named(self, house: House) -> None:
        spec = {"config": {"preset": "smoke", "unheard_of": 1}, "dataset_version_id": house.photos.id, "gpus": 1}
        house.submit("pretrain", spec, dataset_version_id=house.photos.id)
        with pytest.raises(InvalidDocument, match="unheard_of"):
            prepared(house)


class TestEvaluation:
    def submit(self, house: House, source: dict[str, Any]) -> None:
        spec = {"task": "knn", "options": {"k": 3}, "source": source, "dataset_version_id": house.photos.id, "seed": 5}
        house.submit("evaluate", spec, dataset_version_id=house.photos.id)

    def document(self, house: House) -> EvaluateJob:
        return read_job(EvaluateJob, prepared(house, "cpu")[1] / "job.json")

    def test_of_a_random_backbone(self, house: House) -> None:
        self.submit(house, {"weights": "random", "backbone": "resnet18", "seed": 7})
        spec = self.document(house).spec
        assert (spec.task, spec.options, spec.seed) == ("knn", {"k": 3}, 5)
        assert (spec.source.kind, spec.source.backbone, spec.source.seed) == ("random", "resnet18", 7)

    def test_of_a_checkpoint(self, house: House) -> None:
        run_id = house.pretraining()
        checkpoint = house.checkpoint(run_id, 4, b"four")
        self.submit(house, {"run": run_id, "checkpoint_id": checkpoint})
        source = self.document(house).spec.source
        assert source.kind == "checkpoint"
        assert source.path is not None
        assert Path(source.path).read_bytes() == b"four"

    def test_of_a_model_brings_what_runs_it(self, house: House, tmp_path: Path) -> None:
        version = exported(house)
        names = {"manifest": "manifest.json", "onnx": "model.onnx", "torchvision": "net.pth"}
        give_files(house, tmp_path, version, names)
        self.submit(house, {"model_version_id": version})
        house.close(house.claim("cpu"))  # the export itself comes first
        source = self.document(house).spec.source
        assert source.kind == "bundle"
        assert source.path is not None
        assert {path.name for path in Path(source.path).iterdir()} == {"manifest.json", "model.onnx"}
        assert (Path(source.path) / "model.onnx").read_text() == "model.onnx"

    def test_of_imported_weights(self, house: House, tmp_path: Path) -> None:
        self.submit(house, {"weights_id": imported(house, tmp_path)})
        source = self.document(house).spec.source
        assert (source.kind, source.backbone, source.channels) == ("weights", "resnet34", 3)
        assert Path(source.path or "").read_bytes() == b"tensors"
        assert source.sha256 == file_digest(Path(source.path or ""))

    def test_a_lost_checkpoint_is_named(self, house: House) -> None:
        run_id = house.pretraining()
        checkpoint = house.checkpoint(run_id, 4, b"four")
        damage(house, house.ask(lambda s: history.newest_checkpoint(s, run_id)).key)
        self.submit(house, {"run": run_id, "checkpoint_id": checkpoint})
        with pytest.raises(DataError, match=f"checkpoint {checkpoint} cannot be had"):
            prepared(house, "cpu")

    def test_a_deleted_source_is_said(self, house: House) -> None:
        self.submit(house, {"model_version_id": "mv_gone"})
        with pytest.raises(DataError, match="was deleted"):
            prepared(house, "cpu")


class TestExtraction:
    def spec(self, house: House, tmp_path: Path, **more: Any) -> dict[str, Any]:
        version = exported(house)
        house.close(house.claim(), "completed")
        house.close(house.claim("cpu"), "completed")
        give_files(house, tmp_path, version, {"manifest": "manifest.json", "onnx": "model.onnx"})
        return {
            "model_version_id": version,
            "model": "backbone:1",
            "weights_digest": None,
            "options": {"levels": ["res4"]},
            "boxes": None,
            "licenses": {"data set photos@1": "CC0"},
            "bounds": {"bytes": 10**9, "image_bytes": 1000, "image_pixels": 2000},
        } | more

    def test_it_has_its_bundle_its_bounds_and_takes_its_shards_away(self, house: House, tmp_path: Path) -> None:
        house.submit("extract", self.spec(house, tmp_path), dataset_version_id=house.photos.id)
        job, folder = prepared(house)
        document = read_job(ExtractJob, folder / "job.json")
        assert (job.verb, document.model, document.options.levels) == ("extract", "backbone:1", ("res4",))
        assert (document.max_bytes, document.max_image_bytes, document.max_image_pixels) == (10**9, 1000, 2000)
        assert document.most_waiting == 4
        assert document.licenses == {"data set photos@1": "CC0"}
        assert (Path(document.bundle) / "model.onnx").read_text() == "model.onnx"
        assert not (folder / "features").exists()

    def test_a_later_attempt_has_the_index_parts_of_those_before_but_not_the_damaged_ones(
        self, house: House, tmp_path: Path
    ) -> None:
        run_id = house.submit("extract", self.spec(house, tmp_path), dataset_version_id=house.photos.id)
        first = house.claim()
        names = ("00000.safetensors", "00000.jsonl", "00001.safetensors", "00001.jsonl")
        bodies = []
        for name in names:
            (tmp_path / name).write_text(name)
            digest = house.store_file(tmp_path / name)
            bodies.append(ArtifactSaved(name=f"features/{name}", path=name, bytes=len(name), sha256=digest))
        with unit_of_work(house.engine) as session:
            session.get_one(Run, run_id).losses = 5
            assert feed.ingest(session, run_id, first.fence, [Event(n, 0.0, b) for n, b in enumerate(bodies, 1)], 9)
        assert house.run(run_id).losses == 0
        house.close(first, "preempted")
        damage(house, key_of(bodies[3].sha256))
        _, folder = prepared(house)
        assert [path.name for path in (folder / "features").iterdir()] == ["00000.jsonl"]


class TestInit:
    def document(self, house: House, init: dict[str, Any]) -> PretrainJob:
        spec = {"config": plain(smoke()), "dataset_version_id": house.photos.id, "gpus": 1, "init": init}
        house.submit("pretrain", spec, dataset_version_id=house.photos.id)
        return read_job(PretrainJob, prepared(house)[1] / "job.json")

    def test_of_another_runs_checkpoint(self, house: House) -> None:
        trained = house.pretraining()
        house.close(house.claim(), "completed")
        checkpoint = house.checkpoint(trained, 4, b"four")
        init = self.document(house, {"run": trained, "checkpoint_id": checkpoint, "strict": True}).init
        assert init is not None
        assert (init.kind, init.strict, Path(init.path).read_bytes()) == ("checkpoint", True, b"four")
        assert init.sha256 == file_digest(Path(init.path))

    def test_of_imported_weights(self, house: House, tmp_path: Path) -> None:
        job = self.document(house, {"weights_id": imported(house, tmp_path), "strict": False})
        assert job.init is not None
        assert (job.init.kind, job.init.strict, Path(job.init.path).read_bytes()) == ("weights", False, b"tensors")
        assert (job.resume, job.extend) == (None, False)

    def test_of_a_model_takes_its_tensors(self, house: House, tmp_path: Path) -> None:
        version = exported(house)
        house.close(house.claim(), "completed")
        give_files(house, tmp_path, version, {"onnx": "model.onnx", "timm": "timm.pth", "torchvision": "net.pth"})
        init = self.document(house, {"model_version_id": version, "strict": True}).init
        assert init is not None
        assert (init.kind, init.format, Path(init.path).read_text()) == ("weights", "torchvision", "net.pth")

    def test_of_weights_that_are_not_there_yet(self, house: House, tmp_path: Path) -> None:
        weights = imported(house, tmp_path)
        with unit_of_work(house.engine) as session:
            session.get_one(Weights, weights).file_digest = None
        with pytest.raises(DataError, match=f"weights {weights} are"):
            self.document(house, {"weights_id": weights, "strict": True})


class TestFork:
    def submit(self, house: House) -> str:
        """A fork that carries all of a run's checkpoint of step 4."""
        trained = house.pretraining()
        house.close(house.claim(), "completed")
        resume = {
            "run": trained,
            "checkpoint_id": house.checkpoint(trained, 4, b"four"),
            "allow_world_size_change": True,
        }
        spec = {"config": plain(smoke()), "dataset_version_id": house.photos.id, "gpus": 1, "resume": resume}
        return house.submit("pretrain", spec, dataset_version_id=house.photos.id, forked_from=trained)

    def test_that_carries_all_goes_on_from_the_others_checkpoint(self, house: House) -> None:
        self.submit(house)
        job = read_job(PretrainJob, prepared(house)[1] / "job.json")
        assert Path(job.resume or "").read_bytes() == b"four"
        assert job.resume_sha256 == file_digest(Path(job.resume or ""))
        assert (job.extend, job.allow_world_size_change, job.init) == (True, True, None)

    def test_goes_on_from_its_own_as_soon_as_it_has_one(self, house: House) -> None:
        fork = self.submit(house)
        house.checkpoint(fork, 6, b"six")
        job = read_job(PretrainJob, prepared(house)[1] / "job.json")
        assert Path(job.resume or "").read_bytes() == b"six"
        assert not job.extend


def imported(house: House, folder: Path) -> str:
    """Weights that are ready; their id."""
    (folder / "weights.pth").write_bytes(b"tensors")
    digest = house.store_file(folder / "weights.pth")
    weights = Weights(uri="/w.pth", architecture="resnet34", state="ready", file_digest=digest, created_by="test")
    with unit_of_work(house.engine) as session:
        session.add(weights)
        session.flush()
        return weights.id


def give_files(house: House, folder: Path, version: str, names: dict[str, str]) -> None:
    """Let a model version have files that hold their own names."""
    files = {}
    for key, name in names.items():
        (folder / name).write_text(name)
        files[key] = {"path": name, "bytes": 1, "digest": house.store_file(folder / name), "key": ""}
    with unit_of_work(house.engine) as session:
        session.get_one(ModelVersion, version).files = files


def exported(house: House) -> str:
    """A model version being exported from a checkpoint; its id."""
    run_id = house.pretraining()
    checkpoint = house.checkpoint(run_id, 4, b"four")
    with unit_of_work(house.engine) as session:
        found = history.get_checkpoint(session, run_id, checkpoint)
        sizing = Sizing(short_side=800, max_side=1333)
        new = NewVersion(model="backbone", source=found, actor="ada", license="MIT", input=sizing)
        return registry.add_version(session, new).version.id


def test_an_export_knows_where_its_weights_come_from(house: House) -> None:
    exported(house)
    _, folder = prepared(house, "cpu")
    document = read_job(ExportJob, folder / "job.json")
    assert Path(document.checkpoint or "").read_bytes() == b"four"
    assert (document.formats, document.license, document.created_by) == (EXPORT_FORMATS, "MIT", "ada")
    assert (document.input, document.sizing) == (None, Sizing(short_side=800, max_side=1333))
    lineage = document.lineage
    assert (lineage.step, lineage.dataset, lineage.method) == (4, "photos@1", "detco")
    assert lineage.dataset_digest == house.photos.digest
    assert lineage.run is not None


def test_an_export_of_weights_names_them(house: House, tmp_path: Path) -> None:
    weights = imported(house, tmp_path)
    with unit_of_work(house.engine) as session:
        new = NewVersion(model="net", source=session.get_one(Weights, weights), actor="ada", formats=("onnx",))
        registry.add_version(session, new)
    _, folder = prepared(house, "cpu")
    document = read_job(ExportJob, folder / "job.json")
    assert Path(document.weights or "").read_bytes() == b"tensors"
    assert (document.checkpoint, document.architecture, document.formats) == (None, "resnet34", ("onnx",))
    assert (document.lineage.weights, document.lineage.run) == (weights, None)
    assert document.input is None


def test_an_export_of_weights_for_other_pixels_is_told_how_to_prepare_them(house: House, tmp_path: Path) -> None:
    depth = InputSpec(channels=1, mean=(0.5,), std=(0.25,), color="gray", bit_depth=16)
    weights = imported(house, tmp_path)
    with unit_of_work(house.engine) as session:
        source = session.get_one(Weights, weights)
        registry.add_version(session, NewVersion(model="net", source=source, actor="ada", input=depth))
    _, folder = prepared(house, "cpu")
    assert read_job(ExportJob, folder / "job.json").input == depth


def test_an_import_knows_the_file_and_what_it_is_to_hold(house: House, tmp_path: Path) -> None:
    (tmp_path / "official.pth").write_bytes(b"theirs")
    new = NewWeights(uri=str(tmp_path / "official.pth"), architecture="resnet50", format="moco", actor="ada")
    with unit_of_work(house.engine) as session:
        add_weights(session, new, [str(tmp_path)])
    job, folder = prepared(house, "cpu")
    document = read_job(ImportJob, folder / "job.json")
    assert job.verb == "import"
    assert (document.path, document.architecture) == (str(tmp_path / "official.pth"), "resnet50")
    assert (document.format, document.strict) == ("moco", True)


def test_a_data_set_comes_with_its_statistics(house: House) -> None:
    measured = {"1": {"images": 3, "mean": [0.5], "std": [0.25], "bit_depth": 16}}
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).statistics = measured
    house.pretraining()
    document = read_job(PretrainJob, prepared(house)[1] / "job.json")
    assert document.dataset.scanned_at == house.photos.created_at.timestamp()
    grey = document.dataset.statistics["1"]
    assert (grey.images, grey.mean, grey.std, grey.bit_depth) == (3, (0.5,), (0.25,), 16)


def test_a_scan_knows_root_and_exclusions(house: House) -> None:
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).exclude = ["*.gif"]
    house.submit("check", {"dataset_version_id": house.photos.id}, dataset_version_id=house.photos.id)
    _, folder = prepared(house, "cpu")
    document = read_job(CheckJob, folder / "job.json")
    assert (document.root, document.kind, document.exclude) == (house.photos.root, "images", ("*.gif",))
    roots = house.ask(lambda session: session.scalars(select(Worker)).one().roots)
    assert document.allowed_roots == tuple(roots) != ()


def upload(house: House, kind: Any, file: Path) -> str:
    """A file that was uploaded; its id."""
    digest = house.store_file(file)
    with unit_of_work(house.engine) as session:
        new = uploads.NewUpload(kind=kind, bytes=file.stat().st_size, sha256=digest, actor="ada")
        made = uploads.add_upload(session, new, 2**30, 1)
        contents = survey(file, 2**30) if kind == "dataset" else None
        uploads.complete(session, made.id, key_of(digest), contents)
    return made.id


def test_an_uploaded_data_set_lies_unpacked_on_this_host(house: House, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "pictures/in/a.jpg")
    uri = f"upload:{upload(house, 'dataset', tmp_path / 'a.tar')}"
    with unit_of_work(house.engine) as session:
        new = NewDataset(name="sent", kind="images", uri=uri, actor="ada", splits={"train": "in"})
        add_dataset(session, new, [])
    _, folder = prepared(house, "cpu")
    document = read_job(CheckJob, folder / "job.json")
    assert (Path(document.root) / "in" / "a.jpg").read_bytes() == b"picture"
    assert document.splits == {"train": "in"}
    assert not Path(document.root).is_relative_to(house.settings.work_dir)  # once on a host, not for each attempt


def test_what_is_unpacked_here_is_not_said_to_have_changed(house: House, tmp_path: Path) -> None:
    """Its files are younger than their scan, and what the archive's digest says."""
    (tmp_path / "a.jpg").write_bytes(b"picture")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "a.jpg")
    uri = f"upload:{upload(house, 'dataset', tmp_path / 'a.tar')}"
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).root = uri
    house.pretraining()
    assert read_job(PretrainJob, prepared(house)[1] / "job.json").dataset.scanned_at is None


def test_uploaded_weights_are_brought(house: House, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"tensors")
    uri = f"upload:{upload(house, 'weights', tmp_path / 'w.pth')}"
    with unit_of_work(house.engine) as session:
        add_weights(session, NewWeights(uri=uri, architecture="resnet50", actor="ada"), [])
    ready, folder = prepared(house, "cpu")
    path = read_job(ImportJob, folder / "job.json").path
    assert Path(path).read_bytes() == b"tensors"
    assert ready.known_as == {path: uri.replace(":", " ")}, "errors do not name the attempt's folder"


def test_a_root_in_s3_is_read_through_this_hosts_cache(house: House) -> None:
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).root = "s3://bucket/data/photos"
        session.scalars(select(Worker)).one().roots = ["s3://bucket/data"]
    house.pretraining()
    document = read_job(PretrainJob, prepared(house)[1] / "job.json")
    assert document.dataset.root == "s3://bucket/data/photos"
    assert document.dataset.cache is not None
    assert Path(document.dataset.cache.folder) == house.settings.data_dir / "cache" / "objects"
    assert document.dataset.cache.max_bytes == house.settings.data_cache_bytes


def test_a_root_that_leads_elsewhere_since_is_refused(house: House, tmp_path: Path) -> None:
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).root = str(tmp_path / "root")
    (tmp_path / "root").symlink_to("/etc")
    house.pretraining()
    with pytest.raises(DataError, match="leads to /etc now, outside"):
        prepared(house)


def test_a_store_that_is_away_is_no_fault_of_the_data(house: House) -> None:
    house.pretraining()
    artifacts = house.settings.data_dir / "artifacts"
    artifacts.rename(artifacts.with_name("aside"))
    artifacts.touch()
    with pytest.raises(StoreError) as caught:
        prepared(house)
    assert type(caught.value) is StoreError


def test_a_database_that_is_away_is_told_as_such(house: House, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    with pytest.raises(OperationalError):
        prepare(engine, place_nothing, Unpacked(tmp_path, Settings()), Mark("run_1", 1), tmp_path)
    engine.dispose()


def place_nothing(path: Path, digest: str) -> None:
    raise AssertionError((path, digest))


@pytest.mark.slow
def test_an_import_fetches_its_file_from_s3(house: House, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"s3://{s3_bucket.name}/w"
    s3_bucket.put_object(Key="w/net.pth", Body=b"tensors")
    with unit_of_work(house.engine) as session:
        session.execute(update(Worker).values(roots=[root]))
        new = NewWeights(uri=f"{root}/net.pth", architecture="resnet18", actor="ada")
        add_weights(session, new, [root])
    claim = house.claim("cpu")
    mark = Mark(claim.run_id, claim.fence)
    folder = open_folder(house.settings.work_dir, mark)

    def fill() -> None:
        prepare(house.engine, house.services.place, house.services.unpacked(), mark, folder)

    fill()
    job = read_job(ImportJob, folder / "job.json")
    assert Path(job.path).read_bytes() == b"tensors"
    assert Path(job.path).parent == folder
    s3_bucket.Object("w/net.pth").delete()
    with pytest.raises(DataError, match=r"net\.pth cannot be read"):
        fill()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        fill()
