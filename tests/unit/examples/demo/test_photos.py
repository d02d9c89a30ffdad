from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from examples.demo import photos


def test_every_line_of_the_list_is_a_picture_of_the_package(tmp_path: Path) -> None:
    root = Path(str(files("mvtbdata"))) / "images"
    listed = photos.listed()
    assert 60 <= len(listed) <= 90
    assert len(set(listed)) == len(listed)
    assert len({Path(name).stem for name in listed}) == len(listed)
    for name in listed:
        with Image.open(root / name) as image:
            assert min(image.size) >= 200, name


def test_a_photo_is_shrunk_upright_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("RGBA", (1600, 1200), (255, 0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(photos.shrink(tmp_path / "a.png", tmp_path / "a.jpg")) as made:
        assert (made.mode, made.size) == ("RGB", (512, 683))
    Image.new("RGB", (300, 200)).save(tmp_path / "small.png")
    with Image.open(photos.shrink(tmp_path / "small.png", tmp_path / "small.jpg")) as made:
        assert made.size == (300, 200)


def test_a_folder_of_yours_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    for n in range(20):
        Image.new("RGB", (64, 64)).save(tmp_path / "deep" / f"{n:02d}.JPG", "JPEG")
    (tmp_path / "notes.txt").write_text("no photo")
    monkeypatch.setenv("PHOTOS", str(tmp_path))
    found = photos.find_photos(tmp_path / "out")
    assert found.folder == tmp_path.resolve()
    assert len(found.files) == 20
    assert not (tmp_path / "out").exists()


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(photos.NoPhotos, match="has 0 photos"):
        photos.own_photos(tmp_path)
    with pytest.raises(photos.NoPhotos, match="not a folder"):
        photos.own_photos(tmp_path / "nowhere")
