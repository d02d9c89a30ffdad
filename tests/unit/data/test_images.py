"""Opening images of every kind, and data sets with and without a manifest."""

import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.datasets import DatasetFile, DatasetRef, ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.images import ImageFiles, open_image
from detco_core.data.manifest import read_manifest
from detco_core.data.scan import scan
from detco_core.data.synthetic import OddFiles, broken_files, photo, write_shards
from detco_core.pixels.orientation import UPRIGHT


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddFiles:
    return broken_files(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def scanned(odd: OddFiles, tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanReport, dict[str, DatasetFile]]:
    """What a scan of the odd files says, and its manifest's lines by name."""
    folder, root = tmp_path_factory.mktemp("job"), next(iter(odd.readable.values())).parent
    report = scan(CheckJob(folder=str(folder), root=str(root)))
    table = read_manifest(folder / "manifest.jsonl", report.digest)
    return report, {table.path(n): table.file(n) for n in range(len(table))}


def mean_difference(image: Image.Image, other: Image.Image) -> float:
    a, b = (np.asarray(one.convert("RGB")).astype(int) for one in (image, other))
    assert a.shape == b.shape
    return float(np.abs(a - b).mean())


SCENE = photo(0, (96, 64))
READ_AS: dict[str, tuple[Image.Image, float, int]] = {
    "one-pixel.png": (SCENE.resize((1, 1)), 0, 3),
    "cmyk.jpg": (SCENE, 3, 4),
    "cmyk-unmarked.jpg": (SCENE, 3, 4),
    "sixteen-bit.png": (SCENE.convert("L"), 0, 1),
    "sixteen-bit-color.png": (SCENE, 0, 3),
    "palette.png": (SCENE, 5, 3),
    "palette-see-through.png": (SCENE, 5, 3),
    "animated.webp": (SCENE, 0, 3),
    "animated.png": (SCENE, 0, 3),
    "gray-alpha.png": (SCENE.convert("L"), 0, 2),
    "bilevel.png": (SCENE.convert("1"), 0, 1),
    "rotated.jpg": (SCENE, 3, 3),
    "one-by-20000.png": (SCENE.resize((1, 20_000)), 0, 3),
    "really-a-png.jpg": (SCENE, 0, 3),
}
"""Of each odd but readable file: the picture it shows, how far lossy formats may be from it, and its channels."""


@pytest.mark.parametrize("name", READ_AS)
def test_odd_files_show_their_picture_and_are_scanned(
    odd: OddFiles, scanned: tuple[ScanReport, dict[str, DatasetFile]], name: str
) -> None:
    picture, tolerance, channels = READ_AS[name]
    found = open_image(odd.readable[name])
    assert found.mode == "RGB"
    assert mean_difference(found, picture) <= tolerance
    assert min(open_image(odd.readable[name], 32).size) >= 1
    line = scanned[1][name]
    assert sorted((line.width, line.height)) == sorted(picture.size)
    assert line.channels == channels
    assert line.bytes == odd.readable[name].stat().st_size


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.jpg", "truncated"),
        ("text.jpg", "not an image"),
        ("empty.png", "the file is empty"),
        ("empty.npy", "the file is empty"),
    ],
)
def test_broken_files_are_refused_and_reported_with_the_reason(
    odd: OddFiles, scanned: tuple[ScanReport, dict[str, DatasetFile]], name: str, reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        open_image(odd.broken[name], 32)
    assert str(odd.broken[name]) in str(caught.value)
    assert reason in {file.path: file.reason for file in scanned[0].broken}[name]
    with pytest.raises(DataError, match="No such file"):
        open_image(odd.broken[name].with_name("gone.jpg"))


def test_every_odd_file_is_looked_at(odd: OddFiles, scanned: tuple[ScanReport, dict[str, DatasetFile]]) -> None:
    assert set(odd.readable) == set(READ_AS) == set(scanned[1])
    assert {file.path for file in scanned[0].broken} == set(odd.broken)


MEGAPIXELS = """
import resource, sys
from detco_core.contract.jobs import CheckJob
from detco_core.data.images import open_image
from detco_core.data.scan import scan
from PIL import Image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = open_image(sys.argv[1] + "/" + sys.argv[2], 512).size
assert min(size) >= 512, size
report = scan(CheckJob(folder=sys.argv[3], root=sys.argv[1]))
assert report.images == 1 and report.width == (10000,) * 3, report
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "megabytes"), [("large.jpg", 100), ("large.png", 600)])
def test_a_hundred_megapixels_are_read_in_bounded_memory(tmp_path: Path, name: str, megabytes: int) -> None:
    (tmp_path / "root").mkdir()
    # Palette for the PNG: one byte a pixel as stored beside four as RGB.
    image = Image.new("RGB" if name.endswith("jpg") else "P", (10_000, 10_000))
    image.save(tmp_path / "root" / name, compress_level=1)
    command = [sys.executable, "-c", MEGAPIXELS, str(tmp_path / "root"), name, str(tmp_path)]
    used = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stdout
    assert int(used) < megabytes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("short_side", [None, 16])
def test_every_exif_orientation_stands_upright(
    tmp_path: Path, orientation: int, suffix: str, short_side: int | None
) -> None:
    upright = photo(1, (96, 64))
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = undo.get(orientation, UPRIGHT.get(orientation))
    exif, path = Image.Exif(), tmp_path / f"a.{suffix}"
    exif[274] = orientation
    (upright.transpose(turn) if turn is not None else upright).save(path, exif=exif, quality=95)
    found = open_image(path, short_side)
    assert found.size[0] > found.size[1]
    wanted = upright.resize(found.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(wanted)).mean() < 8


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("short_side", "least", "most"), [(512, 480, 480), (240, 240, 479), (100, 100, 199), (7, 7, 60)]
)
def test_short_side_is_reached_by_a_whole_factor(
    tmp_path: Path, suffix: str, short_side: int, least: int, most: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    photo(3, (640, 480)).save(path, quality=95)
    width, height = open_image(path, short_side).size
    assert least <= height <= most
    assert width / height == pytest.approx(640 / 480, rel=0.08)
    assert open_image(path).size == (640, 480)


def test_a_damaged_exif_block_does_not_cost_the_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo(1, (40, 30)).save(path, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xffgarbage")
    assert open_image(path).size == (40, 30)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((4, 4), -7, np.int32 if mode == "I" else np.float32)).save(path)
    with pytest.raises(DataError, match="no known range"):
        open_image(path)


def test_decoders_of_other_formats_never_see_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo(1, (40, 30)).save(path, format="GIF")
    with pytest.raises(DataError, match="not an image in a supported format"):
        open_image(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    for width, height in ((30_000, 30_000), (12_000, 15_000)):
        data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
        path.write_bytes(bytes(data))
        with pytest.raises(DataError, match="pixels"):
            open_image(path, 64)


def test_a_folder_without_manifest_is_listed(photos: Path) -> None:
    files = ImageFiles.open(DatasetRef(name="photos", kind="images", root=str(photos)))
    assert len(files) == 23
    assert files[0].path == "photo-0000.jpg"
    assert files[-1].path == "photo-0022.jpg"
    assert [file.path for file in files[3:5]] == ["photo-0003.jpg", "photo-0004.jpg"]
    assert files.bytes(3) == str(photos / "photo-0003.jpg")
    assert [file.path for file in files] == [path.name for path in sorted(photos.iterdir())]
    with pytest.raises(IndexError):
        files[23]


def test_a_manifest_is_followed_and_checked(photos: Path, tmp_path: Path) -> None:
    report = scan(CheckJob(folder=str(tmp_path), root=str(photos), exclude=("*1.jpg",)))
    manifest = tmp_path / "manifest.jsonl"
    ref = DatasetRef(name="p@1", kind="images", root=str(photos), manifest=str(manifest), digest=report.digest)
    files = ImageFiles.open(ref)
    assert len(files) == 20
    assert (files[0].width, files[0].height) == (48, 64)
    manifest.write_text(manifest.read_text().replace("photo-0002", "photo-0003"))
    with pytest.raises(DataError, match="was changed"):
        ImageFiles.open(ref)


def test_labels_come_from_the_layout(labelled: Path) -> None:
    files = ImageFiles.open(DatasetRef(name="l", kind="labelled", root=str(labelled)))
    assert len(files) == 24
    assert (files[0].split, files[0].label) == ("train", "class-0")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in"):
        ImageFiles.open(DatasetRef(name="e", kind="images", root=str(tmp_path)))


def test_a_phone_photo_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo(1, (40, 30)).save(path, format="MPO", save_all=True, append_images=[photo(2, (20, 20))])
    assert open_image(path).size == (40, 30)


def test_bytes_in_memory_are_opened_like_a_file(tmp_path: Path, odd: OddFiles) -> None:
    for path in odd.readable.values():
        assert np.array_equal(np.asarray(open_image(BytesIO(path.read_bytes()), 32)), np.asarray(open_image(path, 32)))
    with pytest.raises(DataError, match=r"^the file is empty$"):
        open_image(BytesIO())


def test_arrays_of_one_or_three_channels_are_images(tmp_path: Path) -> None:
    pixels = np.asarray(SCENE)
    for name, array in (("a", pixels), ("b", pixels.astype(np.uint16) * 256 + 7), ("c", pixels[:, :, 0])):
        np.save(tmp_path / f"{name}.npy", array)
        shown = np.asarray(open_image(tmp_path / f"{name}.npy"))
        assert np.array_equal(shown, pixels if name != "c" else np.repeat(pixels[:, :, :1], 3, axis=2))
    np.save(tmp_path / "d.npy", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(DataError, match=r"6 channels make no RGB image: set views\.channels to 6"):
        open_image(tmp_path / "d.npy")


def test_a_manifest_of_shards_is_followed_wherever_the_root_points(tmp_path: Path) -> None:
    encoded = BytesIO()
    SCENE.save(encoded, "JPEG")
    root = write_shards(tmp_path / "shards", [encoded.getvalue()] * 5, 2)
    for place in (root, root / "shard-0001.tar"):
        report = scan(CheckJob(folder=str(tmp_path), root=str(place)))
        manifest = str(tmp_path / "manifest.jsonl")
        ref = DatasetRef(name="s@1", kind="images", root=str(place), manifest=manifest, digest=report.digest)
        scanned, listed = ImageFiles.open(ref), ImageFiles.open(DatasetRef(name="s", kind="images", root=str(place)))
        assert len(scanned) == len(listed) == report.images == (5 if place == root else 2)
        assert report.bytes == len(scanned) * len(encoded.getvalue())
        for n in range(len(scanned)):
            assert scanned[n].path == listed[n].path
            assert open_image(scanned.bytes(n)) == open_image(listed.bytes(n))
        assert (scanned[0].width, scanned[0].container) == (
            96,
            sorted(path.name for path in root.iterdir())[place != root],
        )


def test_a_root_that_went_away_is_an_error(tmp_path: Path, photos: Path) -> None:
    report = scan(CheckJob(folder=str(tmp_path), root=str(photos)))
    manifest = str(tmp_path / "manifest.jsonl")
    gone = DatasetRef(name="p@1", kind="images", root=str(tmp_path / "x"), manifest=manifest, digest=report.digest)
    with pytest.raises(DataError, match="x is not there, or this machine does not see it"):
        ImageFiles.open(gone)
