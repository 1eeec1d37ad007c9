"""The nearest training images: those of the largest cosine, the image itself first."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
from PIL import Image

from triptych.cli import encoders, neighbours
from triptych.core.errors import InputError
from triptych.data.storage import load


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with encoders, in which the test runs."""
    tiny_models.encoders(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_training_image_finds_itself_first_with_its_label(folder: Path):
    train = load(encoders.DATA).train
    Image.fromarray(np.array(train.images[7]).transpose(1, 2, 0)).save("query.png")
    found = neighbours.neighbours(encoders.trained_encoder("simsiam"), Path("query.png"), 4)
    first, *others = found.neighbours
    assert (first.index, first.label) == (7, "grey")
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert [one.similarity for one in found.neighbours] == sorted(one.similarity for one in found.neighbours)[::-1]
    assert all(one.similarity <= first.similarity for one in others)
    np.testing.assert_array_equal(found.images, train.images[[one.index for one in found.neighbours]])
    np.testing.assert_array_equal(found.query, train.images[7])


def test_the_nearest_are_those_of_the_largest_cosine():
    stream = np.random.default_rng(0)
    query, bank = stream.standard_normal(6).astype(np.float32), stream.standard_normal((50, 6)).astype(np.float32)
    cosines = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
    similarities, indices = neighbours.nearest(query, bank, 5)
    np.testing.assert_array_equal(indices, np.argsort(-cosines)[:5])
    np.testing.assert_allclose(similarities, np.sort(cosines)[::-1][:5], atol=1e-6)
    assert list(neighbours.nearest(query, np.stack([query, query, -query]), 3)[1]) == [0, 1, 2]


def test_the_picture_shows_the_query_and_then_its_neighbours(tmp_path: Path):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    images = [np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, 32, 32)) for colour in colours]
    near = [neighbours.Neighbour(3, 0.9, "cat"), neighbours.Neighbour(5, 0.8, None)]
    neighbours.draw(tmp_path / "n.png", neighbours.Found(images[0], near, np.stack(images[1:])))
    with Image.open(tmp_path / "n.png") as picture:
        step = neighbours.SIDE + neighbours.GAP
        middle = neighbours.GAP + neighbours.SIDE // 2
        assert [picture.getpixel((middle + number * step, middle)) for number in range(3)] == colours


def test_more_than_the_training_images_and_no_image_are_refused(folder: Path):
    encoder = encoders.trained_encoder("simsiam")
    Path("broken.png").write_bytes(b"broken")
    tiny_models.pictures(Path())
    for image, count, message in (
        ("broken.png", 1, "not readable"),
        ("no.png", 1, "no such file"),
        ("a/0.png", 97, "97"),
    ):
        with pytest.raises(InputError, match=message):
            neighbours.neighbours(encoder, Path(image), count)
