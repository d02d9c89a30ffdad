"""What a uri names, and who can have it: in a query as in Python."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, literal, select

from control.db.session import unit_of_work
from control.errors import ForbiddenRoot, InvalidRequest, NotReady
from control.records.store import places
from control.records.store.places import dataset_place, file_place, is_seen, sees
from control.records.store.uploads import NewUpload, add_upload, complete
from control.storage.archives import Contents

CONTENTS = Contents(files=1, bytes=1, base="", images=1, shards=0, is_saved=False, splits=())


@pytest.mark.parametrize(
    ("roots", "place", "seen"),
    [
        (["/data"], "/data", True),
        (["/data/"], "/data/photos", True),
        (["/data"], "/database", False),
        (["/Data"], "/data/x", False),
        (["/"], "/x", True),
        ([], "/x", False),
        ([], "upload:upl_1", True),
        (["s3://b/p"], "s3://b/p/q", True),
        (["s3://b/p"], "s3://b/pq", False),
        (["/"], "s3://b/p", False),
    ],
)
def test_a_worker_sees_what_lies_below_its_roots(engine: Engine, roots: list[str], place: str, seen: bool) -> None:
    assert sees(roots, place) is seen
    with unit_of_work(engine) as session:
        assert bool(session.scalar(select(literal(1)).where(is_seen(roots, literal(place))))) is seen


def test_an_upload_is_named_once_its_bytes_are_there(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        upload = add_upload(session, NewUpload(kind="dataset", bytes=3, sha256="a" * 64, actor="ada"), 10, 1)
        with pytest.raises(NotReady, match="0 of 3 bytes are there"):
            dataset_place(session, f"upload:{upload.id}", "images", [], {})
        complete(session, upload.id, "key", CONTENTS)
        assert dataset_place(session, f"upload:{upload.id}", "images", [], {}) == f"upload:{upload.id}"
        with pytest.raises(InvalidRequest, match="no train/CLASS/"):
            dataset_place(session, f"upload:{upload.id}", "labelled", [], {})
        with pytest.raises(InvalidRequest, match="of kind 'dataset', not 'weights'"):
            file_place(session, f"upload:{upload.id}", [])


@pytest.mark.parametrize("folder", ["/", "", "..", "a/../b", "./a", "a/", "/a", "a//b", "a\0b"])
def test_a_split_is_a_folder_below_the_root(engine: Engine, photos: Path, folder: str) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="must be a folder below the root"):
        dataset_place(session, str(photos), "images", [str(photos)], {"train": folder})


def test_splits_must_hold_what_their_kind_asks_for(engine: Engine, photos: Path) -> None:
    (photos / "in" / "cat").mkdir(parents=True)
    (photos / "in" / "cat" / "a.jpg").touch()
    with unit_of_work(engine) as session:
        for kind, splits in (("images", {"a": ".", "b": "in"}), ("labelled", {"train": "in", "val": "in"})):
            assert dataset_place(session, str(photos), kind, [str(photos)], splits) == str(photos)
        for kind, splits, reason in (
            ("images", {"a": "out"}, "has no images"),
            ("labelled", {"a": "in/cat"}, "no CLASS/ folders"),
            ("images", {"a b": "."}, "a split's name"),
        ):
            with pytest.raises(InvalidRequest, match=reason):
                dataset_place(session, str(photos), kind, [str(photos)], splits)


def test_a_prefix_of_s3_must_lie_in_a_root_and_hold_images(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        places, "first_names", lambda place: ["train/cat/a.PNG"] if place.endswith("/in") else ["x.txt"]
    )
    monkeypatch.setattr(places, "has_object", lambda place: place == "s3://bucket/data/rows/state.json")
    roots = ["s3://bucket/data", "/home"]
    with unit_of_work(engine) as session:
        for kind in ("images", "labelled"):
            assert dataset_place(session, "s3://bucket/data/in/", kind, roots, {}) == "s3://bucket/data/in"
        for uri in ("s3://bucket/database/in", "s3://other/data/in", "s3://bucket", "s3://"):
            with pytest.raises(ForbiddenRoot):
                dataset_place(session, uri, "images", roots, {})
        for uri in ("s3://bucket/data/../secret", "s3://bucket/data//in", "s3://bucket/data/in?x=1"):
            with pytest.raises(InvalidRequest, match="is not s3://BUCKET/PREFIX"):
                dataset_place(session, uri, "images", roots, {})
        assert dataset_place(session, "s3://bucket/data/rows", "images", roots, {}) == "s3://bucket/data/rows"
        with pytest.raises(InvalidRequest, match=r"no images or \.tar shards among .* nor was it saved"):
            dataset_place(session, "s3://bucket/data/out", "images", roots, {})
        with pytest.raises(InvalidRequest, match="no images among"):
            dataset_place(session, "s3://bucket/data/rows", "labelled", roots, {})


@pytest.mark.slow
def test_lists_shards_and_rows_of_s3_are_looked_at(engine: Engine, s3_bucket: Any) -> None:
    names = ("list.txt", "A.TAR", "shards/b.tar", "rows/data-0.arrow", "rows/state.json", "splits/dataset_dict.json")
    for name in names:
        s3_bucket.put_object(Key=f"d/{name}", Body=b"x")
    s3_bucket.put_object(Key="d/empty.txt", Body=b"")
    root = f"s3://{s3_bucket.name}/d"
    with unit_of_work(engine) as session:
        for name in ("list.txt", "A.TAR", "shards", "rows", "splits"):
            assert dataset_place(session, f"{root}/{name}", "images", [root], {}) == f"{root}/{name}"
            with pytest.raises(InvalidRequest, match="has no images"):
                dataset_place(session, f"{root}/{name}", "labelled", [root], {})
        for name, reason in (("empty.txt", "is empty"), ("none.tar", "cannot be read"), ("rows/none", "nor was it")):
            with pytest.raises(InvalidRequest, match=reason):
                dataset_place(session, f"{root}/{name}", "images", [root], {})


@pytest.mark.slow
def test_a_file_of_s3_must_lie_in_a_root_and_hold_something(engine: Engine, s3_bucket: Any) -> None:
    for key, content in (("w/net.pth", b"tensors"), ("w/empty.pth", b""), ("other/net.pth", b"tensors")):
        s3_bucket.put_object(Key=key, Body=content)
    root = f"s3://{s3_bucket.name}/w"
    with unit_of_work(engine) as session:
        assert file_place(session, f"{root}/net.pth", [root]) == f"{root}/net.pth"
        for name, error, reason in (
            ("w/empty.pth", InvalidRequest, "is empty"),
            ("w/none.pth", InvalidRequest, "cannot be read"),
            ("w/../w/net.pth", InvalidRequest, "is not s3://"),
            ("other/net.pth", ForbiddenRoot, "outside"),
        ):
            with pytest.raises(error, match=reason):
                file_place(session, f"s3://{s3_bucket.name}/{name}", [root])
