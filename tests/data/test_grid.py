"""The picture of a dataset shows training images, one row per class."""

import numpy as np

from triptych.data.sources.build import draw, tile_rows
from triptych.data.storage import Dataset, Split


def make(count: int = 12, channels: int = 3, classes: int = 3) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, 8, 8), dtype=np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int64) % classes if classes else np.full(count, -1))
    return Dataset(split, split, [f"class {label}" for label in range(classes)], "nowhere", "none")


def test_a_picture_is_drawn_of_any_dataset_and_is_reproducible(tmp_path):
    for dataset in (make(), make(channels=1), make(classes=0), make(count=60, classes=25)):
        paths = [tmp_path / "plots" / name for name in ("once.png", "again.png")]
        for path in paths:
            draw(dataset, path)
        assert paths[0].read_bytes().startswith(b"\x89PNG") and paths[0].read_bytes() == paths[1].read_bytes()


def test_each_image_is_in_its_row_and_column():
    images = make().train.images
    picture = tile_rows(images, [np.array([4, 5]), np.array([7])])
    assert np.array_equal(picture[0:8, 9:17], images[5].transpose(1, 2, 0))
    assert np.array_equal(picture[9:17, 0:8], images[7].transpose(1, 2, 0))
    assert (picture[9:, 9:] == 255).all()
