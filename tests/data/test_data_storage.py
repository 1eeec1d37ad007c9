"""Datasets on disk: round trips, atomic saving, and error messages that name the damaged file."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from triptych.core.errors import InputError
from triptych.data.sources import build
from triptych.data.sources.build import save, validate
from triptych.data.storage import SPLITS, Dataset, Split, load

STORED = ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy", "card.json"]


def make(count: int = 12, channels: int = 3, classes: int = 3, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)

    def split(count: int) -> Split:
        images = random.integers(0, 256, (count, channels, 8, 8), dtype=np.uint8)
        return Split(images, np.arange(count, dtype=np.int64) % classes if classes else np.full(count, -1))

    names = [f"class {label}" for label in range(classes)]
    return Dataset(split(count), split(count // 2), names, source="nowhere", licence="none", name="tiny")


def changed(dataset: Dataset, **parts: np.ndarray) -> Dataset:
    train = Split(parts.get("images", dataset.train.images), parts.get("labels", dataset.train.labels))
    return Dataset(train, dataset.test, dataset.classes, dataset.source, dataset.licence, dataset.name)


def test_a_dataset_comes_back_as_it_was_saved(tmp_path):
    dataset = make()
    save(dataset, tmp_path / "data")
    back = load(tmp_path / "data")
    for split in SPLITS:
        assert np.array_equal(getattr(back, split).images, getattr(dataset, split).images)
        assert np.array_equal(getattr(back, split).labels, getattr(dataset, split).labels)
    assert (back.classes, back.source, back.licence, back.name) == (dataset.classes, "nowhere", "none", "tiny")


def test_loaded_arrays_are_memory_maps_that_cannot_be_written(tmp_path):
    save(make(), tmp_path / "data")
    images = load(tmp_path / "data").train.images
    assert isinstance(images, np.memmap) and not images.flags.writeable


def test_the_card_tells_what_the_arrays_hold(tmp_path):
    dataset = make(count=9000, channels=1)
    card = save(dataset, tmp_path / "data")
    assert card == json.loads((tmp_path / "data" / "card.json").read_text())
    assert (card["train_images"], card["test_images"], card["shape"]) == (9000, 4500, [1, 8, 8])
    assert card["per_class"]["test"] == {"class 0": 1500, "class 1": 1500, "class 2": 1500}
    pixels = dataset.train.images / 255
    assert card["channel_mean"] == pytest.approx([pixels.mean()])
    assert card["channel_std"] == pytest.approx([pixels.std()])
    assert card["sha256"]["test_labels"] == hashlib.sha256(dataset.test.labels.tobytes()).hexdigest()


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path):
    save(make(seed=0), tmp_path / "data")
    save(make(seed=1), tmp_path / "data")
    assert np.array_equal(load(tmp_path / "data").train.images, make(seed=1).train.images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_a_failed_save_leaves_the_earlier_dataset(tmp_path, monkeypatch):
    save(make(seed=0), tmp_path / "data")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(build.np, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(make(seed=1), tmp_path / "data")
    assert np.array_equal(load(tmp_path / "data").train.images, make(seed=0).train.images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_a_new_dataset_that_cannot_be_put_in_place_leaves_the_earlier_one(tmp_path, monkeypatch):
    save(make(seed=0), tmp_path / "data")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    rename, renamed = Path.rename, []

    def fail_once_the_earlier_one_is_moved(path: Path, target: Path) -> Path:
        renamed.append(path.name)
        if len(renamed) == 2:
            raise OSError("I/O error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once_the_earlier_one_is_moved)
    with pytest.raises(OSError, match="I/O error"):
        save(make(seed=1), tmp_path / "data")
    assert len(renamed) == 3 and renamed[0] == "data", "the second rename puts the new one in place, the third undoes"
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_damaged_files_are_named(tmp_path):
    save(make(), tmp_path / "data")
    for name in STORED:
        path = tmp_path / "data" / name
        whole = path.read_bytes()
        for damage, content in {"truncated": whole[:-9], "empty": b"", "garbage": b"\x80garbage" + whole}.items():
            path.write_bytes(content)
            assert name in refusal(tmp_path / "data"), damage
        path.unlink()
        assert name in refusal(tmp_path / "data"), "missing"
        path.write_bytes(whole)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    save(make(), tmp_path / "data")
    np.save(tmp_path / "data" / "train_labels.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"train_labels\.npy"):
        load(tmp_path / "data")


def test_what_cannot_be_learned_from_is_refused():
    for parts, says in [
        ({"images": np.zeros((12, 3, 8, 8), np.float32)}, "float32.*uint8"),
        ({"images": np.zeros((12, 8, 8, 3), np.uint8)}, r"\(12, 8, 8, 3\)"),
        ({"images": np.zeros((12, 8, 8), np.uint8)}, r"\(12, 8, 8\)"),
        ({"images": np.zeros((12, 3, 9, 9), np.uint8)}, "must be equal"),
        ({"images": np.zeros((11, 3, 8, 8), np.uint8)}, "one label per image"),
        ({"labels": np.zeros(12, np.int32)}, "int32.*int64"),
        ({"labels": np.arange(12) % 4}, "label 3 of image 3 is out of range; must be 0 to 2"),
        ({"labels": np.arange(12) % 3 - 1}, "label -1"),
        ({"labels": np.arange(12) % 2}, "class 'class 2' has no image"),
    ]:
        with pytest.raises(InputError, match=says):
            validate(changed(make(), **parts), "somewhere")


def test_an_empty_split_is_refused():
    with pytest.raises(InputError, match="somewhere: train: 0 images; at least 1 is required"):
        validate(make(count=0), "somewhere")


def test_a_dataset_without_classes_has_no_labels():
    validate(make(classes=0), "somewhere")
    with pytest.raises(
        InputError, match="label 0 of image 0 is out of range; must be -1, because there are no classes"
    ):
        validate(changed(make(classes=0), labels=np.zeros(12, np.int64)), "somewhere")
