"""Sheets lay images out as they say, and equal images give equal files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.report.drawing import sheets, style


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3, 8, 8), dtype=np.uint8)


def test_tiles_lie_in_rows_with_white_gaps():
    shown = images(3)
    sheet = sheets.tile(shown, columns=2)
    assert sheet.shape == (18, 18, 3)
    assert (sheet[:8, 10:] == shown[1].transpose(1, 2, 0)).all()
    assert (sheet[10:, :8] == shown[2].transpose(1, 2, 0)).all()
    assert (sheet[8:10] == 255).all() and (sheet[10:, 10:] == 255).all()


def test_grey_images_are_shown_in_grey():
    assert (sheets.tile(images(1)[:, :1], columns=1) == images(1)[0, 0, :, :, None]).all()


def test_pairs_stand_one_above_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = {}
    monkeypatch.setattr(
        sheets, "image_sheet", lambda path, shown, columns, *rest: seen.update(shown=shown, names=rest[2])
    )
    above, below = images(20), images(20)[::-1]
    sheets.pairs(tmp_path / "pairs.png", above, below, ("original", "rebuilt"), "", "")
    rows = seen["shown"].reshape(4, 16, *above.shape[1:])
    for row, expected in zip(rows, (above[:16], below[:16], above[16:], below[16:]), strict=True):
        assert (row[: len(expected)] == expected).all() and (row[len(expected) :] == 255).all()
    assert seen["names"] == ["original", "rebuilt"] * 2


def test_bands_of_unequal_length_begin_at_the_left_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = {}
    monkeypatch.setattr(
        sheets, "image_sheet", lambda path, shown, columns, *rest: seen.update(shown=shown, columns=columns)
    )
    for counts, columns in (((2, 11), 11), ((2, 1), sheets.LEAST_COLUMNS)):
        bands = {str(count): images(count) for count in counts}
        sheets.bands(tmp_path / "bands.png", bands, "", "")
        assert seen["columns"] == columns and len(seen["shown"]) == 2 * columns
        assert (seen["shown"][columns : columns + counts[1]] == bands[str(counts[1])]).all()


def test_the_same_images_give_the_same_file_at_the_house_width(tmp_path: Path):
    style.apply()
    for name in ("one", "two"):
        sheets.rows(tmp_path / f"{name}.png", images(2, 4), "Title", "A note.", ["a", "b"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert 900 < picture.width < 1100
