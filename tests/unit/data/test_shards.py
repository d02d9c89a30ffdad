"""Tar shards: the samples WebDataset sees, at the places they really are, and every bad member named."""

import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from detco_core.contract.errors import DataError
from detco_core.data.disk import Disk
from detco_core.data.file_table import Member, tabulate
from detco_core.data.shards import Shards
from detco_core.data.synthetic import write_shards

IMAGES = [bytes([n]) * (n * 700 + 1) for n in range(7)]


def write_tar(path: Path, members: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, BytesIO(content))
    return path


def found(source: Shards) -> dict[str, bytes]:
    """What is listed, with the bytes that are read for it."""
    table = tabulate(source.listing().files)
    members = [table.member(n) for n in range(len(table))]
    opened = [source.open(member) for member in members]
    return {
        member.path: where.getvalue()
        for member, where in zip(members, opened, strict=True)
        if isinstance(where, BytesIO)
    }


def test_samples_are_those_the_library_reads(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "shards", IMAGES, 3)
    ours = found(Shards(Disk(root)))
    assert list(ours) == [f"shard-{n // 3:04d}.tar/{n:06d}.jpg" for n in range(7)]
    for shard in sorted(root.iterdir()):
        with shard.open("rb") as stream:
            theirs = group_by_keys(tar_file_expander([{"url": shard.name, "stream": stream}]))
            samples = {f"{shard.name}/{sample['__key__']}.jpg": sample["jpg"] for sample in theirs}
        assert samples == {path: data for path, data in ours.items() if path.startswith(shard.name)}


def test_one_shard_is_a_root(tmp_path: Path) -> None:
    root = write_shards(tmp_path, IMAGES, 4) / "shard-0001.tar"
    assert list(found(Shards(Disk(root))).values()) == IMAGES[4:]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_kind_and_length_keep_their_places(tmp_path: Path, format: int) -> None:
    names = ["short.jpg", "a/" * 40 + "deep.png", "b/" * 20 + "x" * 90 + ".jpg", "./dotted/here.webp"]
    if format != tarfile.USTAR_FORMAT:
        names += ["übung/ä.jpg", "c" * 200 + ".tiff"]
    members = {name: name.encode() for name in names}
    path = write_tar(tmp_path / "a.tar", members, format)
    assert found(Shards(Disk(path))) == {f"a.tar/{name}": name.encode() for name in sorted(names)}


def test_one_image_a_sample_unless_none_is_plain(tmp_path: Path) -> None:
    names = [
        "1.jpg",
        "1.mask.png",
        "1.json",
        "a.001.jpg",
        "a.002.JPG",
        "2.cls",
        "2.png",
        "2.jpg",
        "noext",
        "__meta__/x.jpg",
    ]
    path = write_tar(tmp_path / "a.tar", {name: name.encode() for name in names})
    assert list(found(Shards(Disk(path)))) == ["a.tar/1.jpg", "a.tar/2.png", "a.tar/a.001.jpg", "a.tar/a.002.JPG"]


def test_hidden_members_and_links_are_left_out_and_bad_names_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as shard:
        for name in ("ok.jpg", ".hidden.jpg", "x/._ok.jpg", "../out.jpg", "caf\udce9.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 3
            shard.addfile(info, BytesIO(b"abc"))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        shard.addfile(link)
    listing = Shards(Disk(path)).listing()
    assert [file.path for file in listing.files] == ["a.tar/ok.jpg"]
    assert [(file.path, file.reason) for file in listing.unusable] == [
        ("a.tar/../out.jpg", "the name leaves the shard"),
        ("a.tar/caf\\udce9.jpg", "the name is not UTF-8"),
    ]


def test_broken_shards_are_named_and_the_others_read(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "shards", IMAGES, 3)
    whole = (root / "shard-0000.tar").read_bytes()
    (root / "cut.tar").write_bytes(whole[:2500])
    (root / "text.tar").write_text("no tar")
    write_tar(root / "twice.tar", {"b.jpg": b"1"})
    with tarfile.open(root / "twice.tar", "a") as shard:
        shard.addfile(tarfile.TarInfo("b.jpg"))
    with tarfile.open(root / "packed.tar", "w:gz") as shard:
        shard.add(root / "shard-0000.tar", "a.jpg")
    listing = Shards(Disk(root)).listing(["shard-0001.tar", "*000002.jpg"])
    paths = [file.path for file in listing.files]
    assert [path for path in paths if path.startswith("shard")] == [
        "shard-0000.tar/000000.jpg",
        "shard-0000.tar/000001.jpg",
        "shard-0002.tar/000006.jpg",
    ]
    reasons = {file.path: file.reason for file in listing.unusable}
    assert set(reasons) == {"cut.tar", "text.tar", "packed.tar", "twice.tar"}
    assert "unpack it" in reasons["packed.tar"]
    assert "duplicate" in reasons["twice.tar"]


def test_a_shard_that_changed_is_found_out(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "shards", IMAGES, 3)
    source = Shards(Disk(root))
    member = tabulate(source.listing().files).member(2)
    (root / "shard-0000.tar").write_bytes(b"short")
    with pytest.raises(DataError, match=r"shard-0000\.tar ends before the image does: scan"):
        source.open(member)
    (root / "shard-0000.tar").unlink()
    with pytest.raises(DataError, match=r"shard-0000\.tar: No such file"):
        source.open(member)
    with pytest.raises(DataError, match="more than the limit"):
        source.open(Member("x", "shard-0001.tar", 0, 2**40))


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        (tarfile.XHDTYPE, 2**70, ["not a whole plain tar"]),
        (tarfile.XHDTYPE, 2**40, ["not a whole plain tar"]),
        (tarfile.REGTYPE, 2**70, ["more than the limit", "not a whole plain tar"]),
    ],
    ids=["attributes", "attributes beyond memory", "image"],
)
def test_a_shard_whose_header_says_too_much_is_named_and_the_others_read(
    tmp_path: Path, kind: bytes, size: int, said: list[str]
) -> None:
    write_shards(tmp_path, [b"one"], 1)
    info = tarfile.TarInfo("a.jpg")
    info.type, info.size = kind, size
    (tmp_path / "hostile.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    listing = Shards(Disk(tmp_path)).listing()
    assert [file.path for file in listing.files] == ["shard-0000.tar/000000.jpg"]
    unusable = list(listing.unusable)
    assert {file.path.split("/")[0] for file in unusable} == {"hostile.tar"}
    assert all(any(part in file.reason for file in unusable) for part in said)
