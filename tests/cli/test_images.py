"""Images are read from image files, and written to contact sheets and folders."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from toy_images import pictures as toy

from triptych.cli import images
from triptych.core.errors import InputError
from triptych.data.sources import folder


def test_an_image_is_read_as_for_training_and_grey_for_a_model_of_one_channel(tmp_path):
    path = tmp_path / "own.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 4)).astype(np.uint8), "RGBA").save(path)
    assert np.array_equal(images.read_image(path, (3, 32, 32)), folder.read_image(path, 32))
    grey = images.read_image(path, (1, 32, 32))
    assert grey.shape == (1, 32, 32)
    luminance = np.tensordot([0.299, 0.587, 0.114], folder.read_image(path, 32).astype(float), axes=1)
    assert np.abs(grey[0] - luminance).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_and_a_folder_show_the_same_images(channels, tmp_path):
    pictures = toy(5, channels)
    sheet, files = (images.output(out, 5) for out in (f"{tmp_path}/a.png", f"{tmp_path}/b/"))
    assert not list(tmp_path.iterdir())  # nothing is written yet
    assert sheet.write(pictures) == [f"{tmp_path}/a.png"]
    assert files.write(pictures) == [f"{tmp_path}/b/{row:04d}.png" for row in range(5)]
    shown = np.asarray(Image.open(tmp_path / "a.png")).transpose(2, 0, 1)
    side = 32
    gap = shown.shape[1] - 2 * side
    assert shown.shape == (3, 2 * side + gap, 3 * side + 2 * gap) and gap > 0
    for row, image in enumerate(pictures):
        top, left = (cell * (side + gap) for cell in divmod(row, 3))
        assert (shown[:, top : top + side, left : left + side] == image).all()
        kept = np.asarray(Image.open(tmp_path / f"b/{row:04d}.png"))
        assert np.array_equal(kept, image[0] if channels == 1 else image.transpose(1, 2, 0))
    assert (shown[:, side : side + gap] == 255).all() and (shown[:, -side:, -side:] == 255).all()  # gap, sixth cell


def test_names_of_few_are_the_first_of_those_of_many(tmp_path):
    few, many = (images.output(f"{tmp_path}/", count).files for count in (10, 100))
    assert many[:10] == few
    assert [file.name for file in images.output(f"{tmp_path}/", 2, ("a", "b")).files] == [
        "0000_a.png",
        "0000_b.png",
        "0001_a.png",
        "0001_b.png",
    ]


def test_existing_files_stay_unless_they_may_be_replaced(tmp_path):
    (tmp_path / "0001.png").write_text("mine")
    (tmp_path / "a.png").write_text("mine")
    for out in (str(tmp_path), f"{tmp_path}/a.png"):
        with pytest.raises(InputError, match="--force"):
            images.output(out, 2)
    assert (tmp_path / "0001.png").read_text() == (tmp_path / "a.png").read_text() == "mine"
    images.output(f"{tmp_path}/", 2, force=True).write(toy(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "0001.png", "a.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "0001.png")), toy(2)[1].transpose(1, 2, 0))


def test_a_path_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file/a.png", tmp_path / "file/b/c.png", tmp_path / ("x" * 300 + ".png")):
        with pytest.raises(InputError, match="cannot be written"):
            images.output(str(out), 1)
    for out in ("a.jpg", "a", "a.png.zip"):
        with pytest.raises(InputError, match="must end in .png"):
            images.output(str(tmp_path / out), 1)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        images.write_png(tmp_path / "folder.png", toy(1)[0].transpose(1, 2, 0))
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.png"}


def test_sheets_are_nearly_square(tmp_path):
    out = f"{tmp_path}/a.png"
    assert [images.output(out, count).columns for count in (1, 4, 10, 64)] == [1, 2, 4, 8]
    assert [images.output(out, count, ("a", "b", "c")).columns for count in (1, 2, 12)] == [3, 3, 6]


def test_groups_of_one_image_are_side_by_side(tmp_path):
    first, second = toy(3), 255 - toy(3)
    files = images.output(f"{tmp_path}/", 3, ("a", "b")).write(first, second)
    written = np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])
    assert np.array_equal(written[::2], first) and np.array_equal(written[1::2], second)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for name, words in (("a.png", "not readable"), ("b.png", "no such image file"), (".", "no such image file")):
        with pytest.raises(InputError, match=words):
            images.read_image(Path(tmp_path / name), (3, 32, 32))


def test_postscript_named_png_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(InputError, match="not readable"):
        images.read_image(path, (3, 32, 32))
    assert not (tmp_path / "started").exists()
