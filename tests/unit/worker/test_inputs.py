"""Each kind of run becomes a job whose inputs are in its folder, verified."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from control.db.models import DatasetVersion, ModelVersion
from control.db.session import open_engine, unit_of_work
from control.errors import StoreError
from control.records import history, registry
from control.records.registry import NewVersion
from detco_core.contract.errors import DataError, InvalidDocument
from detco_core.contract.jobs import CheckJob, EvaluateJob, ExportJob, PretrainJob, read_job
from tests.unit.worker.house import House
from worker.attempts import open_folder
from worker.inputs import Prepared, prepare
from worker.processes import Mark


def prepared(house: House, queue: Any = "gpu") -> tuple[Prepared, Path]:
    """Claim the next run and prepare it."""
    claim = house.claim(queue)
    mark = Mark(claim.run_id, claim.fence)
    folder = open_folder(house.settings.work_dir, mark)
    return prepare(house.engine, house.services.place, mark, folder), folder


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

    def test_of_a_model_brings_its_whole_bundle(self, house: House, tmp_path: Path) -> None:
        files = {}
        for name in ("manifest.json", "model.onnx"):
            (tmp_path / name).write_text(name)
            digest = house.store_file(tmp_path / name)
            files[name] = {"path": name, "bytes": 1, "digest": digest, "key": ""}
        version = exported(house)
        with unit_of_work(house.engine) as session:
            session.get_one(ModelVersion, version).files = files
        self.submit(house, {"model_version_id": version})
        house.close(house.claim("cpu"))  # the export itself comes first
        source = self.document(house).spec.source
        assert source.kind == "bundle"
        assert source.path is not None
        assert (Path(source.path) / "model.onnx").read_text() == "model.onnx"

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


def exported(house: House) -> str:
    """A model version being exported from a checkpoint; its id."""
    run_id = house.pretraining()
    checkpoint = house.checkpoint(run_id, 4, b"four")
    with unit_of_work(house.engine) as session:
        found = history.get_checkpoint(session, run_id, checkpoint)
        new = NewVersion(model="backbone", checkpoint=found, actor="ada", license="MIT")
        return registry.add_version(session, new).version.id


def test_an_export_knows_where_its_weights_come_from(house: House) -> None:
    exported(house)
    _, folder = prepared(house, "cpu")
    document = read_job(ExportJob, folder / "job.json")
    assert Path(document.checkpoint).read_bytes() == b"four"
    assert (document.formats, document.license, document.created_by) == (("onnx", "torchvision"), "MIT", "ada")
    lineage = document.lineage
    assert (lineage.step, lineage.dataset, lineage.method) == (4, "photos@1", "detco")
    assert lineage.dataset_digest == house.photos.digest
    assert lineage.run is not None


def test_a_scan_knows_root_and_exclusions(house: House) -> None:
    with unit_of_work(house.engine) as session:
        session.get_one(DatasetVersion, house.photos.id).exclude = ["*.gif"]
    house.submit("check", {"dataset_version_id": house.photos.id}, dataset_version_id=house.photos.id)
    _, folder = prepared(house, "cpu")
    document = read_job(CheckJob, folder / "job.json")
    assert (document.root, document.kind, document.exclude) == (house.photos.root, "images", ("*.gif",))


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
        prepare(engine, place_nothing, Mark("run_1", 1), tmp_path)
    engine.dispose()


def place_nothing(path: Path, digest: str) -> None:
    raise AssertionError((path, digest))
