"""Features of image files equal those that the metrics use, for any order and batch size."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_models
import torch
from PIL import Image

from triptych.cli import encoders
from triptych.cli.images import with_channels
from triptych.core.errors import InputError
from triptych.core.files import read_arrays
from triptych.data.sources.build import save
from triptych.data.sources.folder import read_image
from triptych.data.storage import Dataset, Split, load
from triptych.ssl.probe import encode

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with encoders; it becomes the working directory."""
    tiny_models.encoders(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("layer", ["backbone", "projector"])
def test_features_are_those_that_the_measures_see_of_each_seed(folder: Path, layer: str):
    paths = tiny_models.pictures(Path("images"))
    images = np.stack([read_image(path, 16) for path in paths])
    made = []
    for seed_run in range(tiny_models.SEEDS):
        encoder = encoders.load_encoder("simsiam", seed_run)
        found = encoders.features(encoder, [Path("images")], layer)
        again = tiny_models.save_encoder(Path("again"), seed_run)
        expected = encode(again, images, CPU, 5)[layer].numpy()
        assert found.paths == [str(path) for path in paths]
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
        made.append(found.values)
    assert np.abs(made[0] - made[1]).max() > 0.01


def test_order_and_batches_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch):
    paths = tiny_models.pictures(Path("images"))
    encoder = encoders.load_encoder("simsiam")
    together = encoders.features(encoder, paths)
    monkeypatch.setattr(encoders, "BATCH", 2)
    apart = encoders.features(encoder, paths[::-1])
    assert apart.paths == together.paths[::-1]
    np.testing.assert_allclose(apart.values[::-1], together.values, rtol=1e-4, atol=1e-5)


def test_what_is_no_image_is_left_out_and_named(folder: Path):
    paths = tiny_models.pictures(Path("images"))
    paths[2].write_bytes(b"broken")
    Path("images/a/notes.txt").write_text("no image")
    found = encoders.features(encoders.load_encoder("simsiam"), [Path("images")])
    assert found.paths == [str(path) for path in paths if path != paths[2]]
    assert found.skipped == {"not readable": [str(paths[2])], "unsupported extension .txt": ["images/a/notes.txt"]}
    assert np.isfinite(found.values).all()


def test_an_encoder_of_grey_images_sees_grey(folder: Path):
    grey = Split(np.zeros((4, 1, 16, 16), np.uint8), np.full(4, -1))
    save(Dataset(grey, grey, [], "drawn", "none"), encoders.DATA)
    tiny_models.save_encoder(encoders.MODELS / "grey", 0, in_channels=1)
    tiny_models.pictures(Path("images"))
    image = Image.new("RGB", (16, 16), (200, 200, 200))
    encoder = encoders.load_encoder("grey")
    assert np.all(with_channels(np.asarray(image).transpose(2, 0, 1)[None], 1) == 200)
    assert encoders.features(encoder, [Path("images")]).values.shape == (5, 16)
    with pytest.raises(InputError, match="3-channel images, but data/ssl has 1-channel images"):
        encoders.load_encoder("simsiam")


@pytest.mark.parametrize("ending", encoders.ENDINGS)
def test_tables_hold_the_paths_and_every_digit_of_the_features(tmp_path: Path, ending: str):
    values = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    path = tmp_path / f"made/features{ending}"
    encoders.write_features(path, encoders.Features(["a,b.png", "é.png", "c.png"], values, {}))
    if ending == ".npz":
        arrays = read_arrays(path)
        names, read = list(arrays["path"]), arrays["features"]
    else:
        table = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(io.BytesIO(path.read_bytes()))
        assert list(table.columns) == ["path", "f0", "f1", "f2", "f3"]
        names, read = list(table["path"]), table.drop(columns="path").to_numpy(np.float32)
    assert names == ["a,b.png", "é.png", "c.png"]
    np.testing.assert_array_equal(read, values)


def test_the_size_of_images_is_known_without_the_dataset(folder: Path):
    card = encoders.DATA / "card.json"
    Path("metrics").mkdir()
    Path("metrics/data.json").write_text('{"ssl": ' + card.read_text() + "}")
    card.unlink()
    assert encoders.load_encoder("simsiam").shape == (3, 16, 16)


def test_what_is_not_there_is_refused(folder: Path):
    encoder = encoders.load_encoder("simsiam")
    Path("empty").mkdir()
    Path("broken.png").write_bytes(b"")
    for given, message in (("nowhere", "no such file"), ("empty", "no images"), ("broken.png", "not readable")):
        with pytest.raises(InputError, match=message):
            encoders.features(encoder, [Path(given)])
    with pytest.raises(InputError, match="did you mean 'simsiam'"):
        encoders.load_encoder("simsam")
    with pytest.raises(InputError, match="no training run 2; --seed-run must be from 0 to 1"):
        encoders.load_encoder("simsiam", 2)


# --- neighbours ---


def test_a_training_image_finds_itself_first_with_its_label(folder: Path):
    train = load(encoders.DATA).train
    Image.fromarray(np.array(train.images[7]).transpose(1, 2, 0)).save("query.png")
    images, found = encoders.neighbours(encoders.load_encoder("simsiam"), Path("query.png"), 4)
    assert (found[0]["index"], found[0]["label"]) == (7, "grey")
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    similarities = [entry["similarity"] for entry in found]
    assert similarities == sorted(similarities)[::-1]
    np.testing.assert_array_equal(images, train.images[[7, *(entry["index"] for entry in found)]])


def test_the_nearest_are_those_of_the_largest_cosine():
    stream = np.random.default_rng(0)
    query, bank = stream.standard_normal(6).astype(np.float32), stream.standard_normal((50, 6)).astype(np.float32)
    cosines = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
    similarities, indices = encoders.nearest(query, bank, 5)
    np.testing.assert_array_equal(indices, np.argsort(-cosines)[:5])
    np.testing.assert_allclose(similarities, np.sort(cosines)[::-1][:5], atol=1e-6)
    assert list(encoders.nearest(query, np.stack([query, query, -query]), 3)[1]) == [0, 1, 2]


def test_the_picture_shows_the_query_and_then_its_neighbours():
    colours = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250)], np.uint8)
    picture = encoders.neighbours_picture(np.broadcast_to(colours[:, :, None, None], (3, 3, 32, 32)).copy())
    side = encoders.SIDE
    assert len(picture) == side
    gap = (picture.shape[1] - 3 * side) // 2
    assert np.array_equal(picture[side // 2, side // 2 :: side + gap], colours)


def test_more_than_the_training_images_and_no_image_are_refused(folder: Path):
    encoder = encoders.load_encoder("simsiam")
    Path("broken.png").write_bytes(b"broken")
    tiny_models.pictures(Path())
    for image, count, message in (
        ("broken.png", 1, "not readable"),
        ("no.png", 1, "no such image file"),
        ("a/0.png", 97, "97"),
    ):
        with pytest.raises(InputError, match=message):
            encoders.neighbours(encoder, Path(image), count)
