"""The picture of a dataset shows its training images, each in its place."""

import numpy as np

from triptych.data.sources import grid
from triptych.data.storage import Dataset, Split, save


def make(count: int = 12, channels: int = 3, classes: int = 3) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, 8, 8), dtype=np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int64) % classes if classes else np.full(count, -1))
    return Dataset(split, split, [f"class {label}" for label in range(classes)], "nowhere", "none")


def test_a_grid_is_drawn_of_any_dataset_and_the_same_one_again(tmp_path):
    for dataset in (make(), make(channels=1), make(classes=0), make(count=60, classes=25)):
        save(dataset, tmp_path / "data")
        paths = [tmp_path / "plots" / name for name in ("once.png", "again.png")]
        for path in paths:
            grid.draw(tmp_path / "data", path)
        assert paths[0].read_bytes().startswith(b"\x89PNG") and paths[0].read_bytes() == paths[1].read_bytes()


def test_the_mosaic_holds_each_image_in_its_place():
    images = make().train.images
    mosaic = grid._mosaic(images, [np.array([4, 5]), np.array([7])])
    assert np.array_equal(mosaic[0:8, 9:17], images[5].transpose(1, 2, 0))
    assert np.array_equal(mosaic[9:17, 0:8], images[7].transpose(1, 2, 0))
