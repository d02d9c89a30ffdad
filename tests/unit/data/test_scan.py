"""The scan: counts, broken files, a stable digest, and no torch."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from detco_core.contract.datasets import ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data import scan as scan_module
from detco_core.data.file_table import Member, tabulate
from detco_core.data.scan import BROKEN, MANIFEST, probe, scan
from detco_core.data.sources import Bytes, InMemory, Unreachable
from detco_core.data.synthetic import broken_files, photo


def check(root: Path, folder: Path, **options: object) -> ScanReport:
    folder.mkdir(exist_ok=True)
    return scan(CheckJob(folder=str(folder), root=str(root), **options))  # type: ignore[arg-type]  # kind, exclude


@dataclass(frozen=True)
class Away(InMemory):
    def open(self, member: Member) -> Bytes:
        raise Unreachable("S3 does not answer")


def test_what_cannot_be_had_now_is_not_broken() -> None:
    source = Away({"a.jpg": b""})
    table = tabulate(source.listing().files)
    with pytest.raises(Unreachable, match=r"a\.jpg: S3 does not answer"):
        probe(source, table, 0)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


def test_counts_sizes_and_channels(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    photo(0, (30, 20)).save(root / "deep" / "a.jpg")
    photo(1, (50, 40)).convert("L").save(root / "b.png")
    Image.new("RGBA", (70, 10), (9, 9, 9, 50)).save(root / "c.webp")
    report = check(root, tmp_path / "job")
    assert (report.images, report.splits, report.labels) == (3, {"": 3}, {})
    assert report.channels == {"1": 1, "3": 1, "4": 1}
    assert (report.width, report.height) == ((30, 50, 70), (10, 20, 40))
    assert report.bytes == sum(path.stat().st_size for path in root.rglob("*.*"))
    assert report.broken == ()
    found = lines(tmp_path / "job")
    assert [line["path"] for line in found] == ["b.png", "c.webp", "deep/a.jpg"]
    assert found[2] == {
        "path": "deep/a.jpg",
        "bytes": (root / "deep" / "a.jpg").stat().st_size,
        "width": 30,
        "height": 20,
        "channels": 3,
        "label": None,
        "split": None,
    }


def test_broken_files_are_listed_with_a_reason_and_left_out(tmp_path: Path) -> None:
    odd = broken_files(tmp_path / "root")
    report = check(tmp_path / "root", tmp_path / "job")
    assert report.images == len(odd.readable)
    assert {file.path for file in report.broken} == set(odd.broken)
    assert {file.path: file.reason for file in report.broken}["empty.png"] == "the file is empty"
    assert all(str(tmp_path) not in file.reason for file in report.broken)
    assert {line["path"] for line in lines(tmp_path / "job")} == set(odd.readable)
    sizes = {line["path"]: (line["width"], line["height"]) for line in lines(tmp_path / "job")}
    assert sizes["rotated.jpg"] == (64, 96)  # as stored
    assert sizes["one-by-20000.png"] == (1, 20_000)


def test_of_many_broken_files_the_first_are_reported_and_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "NAMED_FILES", 2)
    odd = broken_files(tmp_path / "root")
    report = check(tmp_path / "root", tmp_path / "job")
    assert [file.path for file in report.broken] == sorted(odd.broken)[:2]
    assert report.broken_count == len(odd.broken)
    written = [json.loads(line) for line in (tmp_path / "job" / BROKEN).read_text().splitlines()]
    assert [line["path"] for line in written] == sorted(odd.broken)
    assert all(line["reason"] for line in written)


@pytest.mark.parametrize("tail", [1, 40, 400])
def test_a_file_cut_anywhere_in_its_pixels_is_broken(tmp_path: Path, tail: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for suffix in ("jpg", "png", "webp", "bmp"):
        path = root / f"a.{suffix}"
        photo(0, (200, 150)).save(path)
        # A JPEG's last two bytes are only its end marker.
        path.write_bytes(path.read_bytes()[: -tail - 2 * (suffix == "jpg")])
    photo(0, (20, 20)).save(root / "whole.png")
    report = check(root, tmp_path / "job")
    assert report.images == 1 + (5 - 1 - len(report.broken))
    assert {file.path for file in report.broken} >= {"a.webp", "a.bmp"}


def test_splits_and_labels_of_a_labelled_folder(labelled: Path, tmp_path: Path) -> None:
    report = check(labelled, tmp_path / "job", kind="labelled")
    assert report.splits == {"train": 12, "val": 12}
    assert report.labels == {"class-0": 8, "class-1": 8, "class-2": 8}
    assert {(line["split"], line["label"]) for line in lines(tmp_path / "job")} == {
        (split, f"class-{n}") for split in ("train", "val") for n in range(3)
    }


def test_splits_are_folders_that_the_request_names(labelled: Path, tmp_path: Path) -> None:
    named = {"fit": "train", "test": "val/class-1"}
    report = check(labelled, tmp_path / "a", splits=named)
    assert (report.splits, report.labels) == ({"fit": 12, "test": 4}, {})
    assert check(labelled, tmp_path / "b", splits={"all": "."}).splits == {"all": 24}
    turned = check(labelled, tmp_path / "c", kind="labelled", splits={"train": "val", "val": "train"})
    assert turned.splits == {"train": 12, "val": 12}
    assert turned.labels == {"class-0": 8, "class-1": 8, "class-2": 8}
    inner = check(labelled, tmp_path / "d", splits={"rest": ".", "one": "train/class-0"})
    assert inner.splits == {"one": 4, "rest": 20}
    with pytest.raises(DataError, match="train, held-out with CLASS/image files"):
        check(labelled, tmp_path / "e", kind="labelled", splits={"train": "train", "val": "held-out"})


def test_the_digest_is_a_function_of_the_files(photos: Path, tmp_path: Path) -> None:
    first, again = check(photos, tmp_path / "a"), check(photos, tmp_path / "b")
    assert first == again
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()
    assert check(photos, tmp_path / "c", exclude=("photo-0000.jpg",)).digest != first.digest


def test_progress_goes_from_nothing_to_all(photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    scan(CheckJob(folder=str(tmp_path), root=str(photos)), lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 23)
    assert seen[-1] == (23, 23)
    assert seen == sorted(seen)


def test_an_interrupted_scan_leaves_no_manifest(photos: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == total:
            raise Stop

    with pytest.raises(Stop):
        scan(CheckJob(folder=str(tmp_path), root=str(photos)), stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_readable_names_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DataError, match=f"no image files in {root}"):
        check(root, tmp_path / "job")
    (root / "a.jpg").write_text("no picture")
    with pytest.raises(DataError, match=f"no readable image in {root}.*a.jpg: not an image"):
        check(root, tmp_path / "job")
    with pytest.raises(DataError, match="'coco' is not supported"):
        check(root, tmp_path / "job", kind="coco")


def test_the_scan_runs_where_torch_cannot_be_imported() -> None:
    code = "import sys; sys.modules['torch'] = None; import detco_core.data.scan"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
