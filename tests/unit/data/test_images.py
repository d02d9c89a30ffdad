"""Opening images of every kind, and data sets with and without a manifest."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.images import UPRIGHT, ImageFiles, open_image
from detco_core.data.scan import scan
from detco_core.data.synthetic import OddFiles, broken_files, photo


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddFiles:
    return broken_files(tmp_path_factory.mktemp("odd"))


def mean_difference(image: Image.Image, other: Image.Image) -> float:
    a, b = (np.asarray(one.convert("RGB")).astype(int) for one in (image, other))
    assert a.shape == b.shape
    return float(np.abs(a - b).mean())


def test_every_odd_file_becomes_rgb(odd: OddFiles) -> None:
    for name, path in odd.readable.items():
        image = open_image(path, 32)
        assert image.mode == "RGB", name
        assert min(image.size) >= 1, name


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("palette.png", 5), ("cmyk.jpg", 3), ("rotated.jpg", 3), ("really-a-png.jpg", 0)],
)
def test_colour_survives(odd: OddFiles, name: str, tolerance: int) -> None:
    assert mean_difference(open_image(odd.readable[name]), photo(0, (96, 64))) <= tolerance


@pytest.mark.parametrize("name", ["sixteen-bit.png", "gray-alpha.png"])
def test_grey_survives(odd: OddFiles, name: str) -> None:
    assert mean_difference(open_image(odd.readable[name]), photo(0, (96, 64)).convert("L")) == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [("truncated.jpg", "truncated"), ("text.jpg", "not an image"), ("empty.png", "the file is empty")],
)
def test_broken_files_are_refused_with_name_and_reason(odd: OddFiles, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        open_image(odd.broken[name], 32)
    assert str(odd.broken[name]) in str(caught.value)
    with pytest.raises(DataError, match="No such file"):
        open_image(odd.broken[name].with_name("gone.jpg"))


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
    assert files.path(3) == str(photos / "photo-0003.jpg")
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
