"""Images from a user's files, and to sheets and folders that hold nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_images import pictures as toy

from triptych.cli import pictures
from triptych.core.errors import InputError
from triptych.data.sources.folder import read_image


def test_an_image_is_read_as_for_training_and_grey_for_a_model_of_one_channel(tmp_path):
    path = tmp_path / "own.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 4)).astype(np.uint8), "RGBA").save(path)
    assert np.array_equal(pictures.read(path, (3, 32, 32)), read_image(path, 32))
    grey = pictures.read(path, (1, 32, 32))
    assert grey.shape == (1, 32, 32)
    luminance = np.tensordot([0.299, 0.587, 0.114], read_image(path, 32).astype(float), axes=1)
    assert np.abs(grey[0] - luminance).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_and_a_folder_show_the_same_images(channels, tmp_path):
    images = toy(5, channels)
    sheet, folder = (
        pictures.target(out, pictures.numbered(5), force=False) for out in (f"{tmp_path}/a.png", f"{tmp_path}/b/")
    )
    assert not list(tmp_path.iterdir())  # asking writes nothing
    assert sheet.write(images, columns=3) == [f"{tmp_path}/a.png"]
    assert folder.write(images, columns=3) == [f"{tmp_path}/b/{row:04d}.png" for row in range(5)]
    shown = np.atleast_3d(np.asarray(Image.open(tmp_path / "a.png"))).transpose(2, 0, 1)
    gap, side = pictures.GAP, 32
    assert shown.shape == (channels, 2 * (side + gap) + gap, 3 * (side + gap) + gap)
    for row, image in enumerate(images):
        top, left = (gap + place * (side + gap) for place in divmod(row, 3))
        assert np.array_equal(shown[:, top : top + side, left : left + side], image)
        kept = np.asarray(Image.open(tmp_path / f"b/{row:04d}.png"))
        assert np.array_equal(kept, image[0] if channels == 1 else image.transpose(1, 2, 0))
    assert (shown[:, :gap] == 255).all() and (shown[:, -side:, -side:] == 255).all()  # around, and in the sixth place


def test_names_of_few_are_the_first_of_those_of_many():
    assert pictures.numbered(100)[:10] == pictures.numbered(10)
    assert pictures.numbered(2, ("a", "b")) == ["0000_a.png", "0000_b.png", "0001_a.png", "0001_b.png"]


def test_what_is_there_stays_unless_it_may_be_replaced(tmp_path):
    (tmp_path / "0001.png").write_text("mine")
    (tmp_path / "a.png").write_text("mine")
    for out in (str(tmp_path), f"{tmp_path}/a.png"):
        with pytest.raises(InputError, match="--force"):
            pictures.target(out, pictures.numbered(2), force=False)
    assert (tmp_path / "0001.png").read_text() == (tmp_path / "a.png").read_text() == "mine"
    pictures.target(f"{tmp_path}/", pictures.numbered(2), force=True).write(toy(2), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "0001.png", "a.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "0001.png")), toy(2)[1].transpose(1, 2, 0))


def test_a_place_that_cannot_be_written_to_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file/a.png", tmp_path / "file/b/c.png", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(InputError, match="cannot be written"):
            pictures.target(str(out), ["0000.png"], force=False)
    for out in ("a.jpg", "a", "a.png.zip"):
        with pytest.raises(InputError, match="ends with .png"):
            pictures.target(str(tmp_path / out), ["0000.png"], force=False)
    (tmp_path / "folder.png").mkdir()
    place = pictures.Target([tmp_path / "folder.png"], sheet=True)
    with pytest.raises(InputError, match="cannot be written"):
        place.write(toy(1), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.png"}


def test_sheets_are_nearly_square():
    assert [pictures.columns_for(count) for count in (1, 4, 10, 64)] == [1, 2, 4, 8]
    assert [pictures.columns_for(count, parts=3) for count in (1, 2, 12)] == [3, 3, 6]


def test_parts_of_one_image_stand_side_by_side():
    above, below = toy(3), 255 - toy(3)
    together = pictures.beside(above, below)
    assert np.array_equal(together[::2], above) and np.array_equal(together[1::2], below)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for name, words in (("a.png", "not readable"), ("b.png", "no such image file"), (".", "no such image file")):
        with pytest.raises(InputError, match=words):
            pictures.read(Path(tmp_path / name), (3, 32, 32))
