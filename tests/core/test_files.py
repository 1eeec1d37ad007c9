"""Files are written atomically and follow the umask. Damaged files raise InputError."""

import json
import os

import numpy as np
import pytest
import torch

from triptych.core.errors import InputError
from triptych.core.files import read_arrays, write_arrays, write_json, write_text
from triptych.data.sources.build import save
from triptych.data.storage import Dataset, Split
from triptych.nn.weights import save_tensors, snapshot_files
from triptych.training.checkpoint import Checkpoints


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "numbers.json"
    write_json(path, {"b": 1, "a": [0.5]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    0.5\n  ]\n}\n'
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(path, {"b": bad})
    assert json.loads(path.read_text()) == {"b": 1, "a": [0.5]}
    write_text(path, "Größe\n")
    assert path.read_text(encoding="utf-8") == "Größe\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["numbers.json"]


def test_a_file_that_is_linked_elsewhere_is_replaced_and_not_written_to(tmp_path):
    """DVC can link outputs into its cache (cache.type symlink or hardlink), and cached files must not change."""
    cached = tmp_path / "cached"
    cached.write_text("old")
    (tmp_path / "hard").hardlink_to(cached)
    (tmp_path / "soft").symlink_to(cached)
    for name in ("hard", "soft"):
        write_text(tmp_path / name, "new")
        assert cached.read_text() == "old" and (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_written_files_follow_the_umask(tmp_path, umask):
    split = Split(np.zeros((2, 1, 8, 8), np.uint8), np.full(2, -1))
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text.csv", "a,b\n")
        write_json(tmp_path / "numbers.json", {})
        write_arrays(tmp_path / "images.npz", {"images": np.zeros(3)})
        save_tensors(tmp_path / "model.safetensors", {"w": torch.zeros(3)})
        Checkpoints("vae", "key", root=tmp_path).save({"w": torch.zeros(3)})
        save(Dataset(split, split, [], "nowhere", "none"), tmp_path / "data")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 10
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {
        path.name: oct(0o666 & ~umask) for path in files
    }
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o777 & ~umask


def test_arrays_come_back_as_they_were_and_as_the_same_bytes(tmp_path):
    arrays = {"images": np.arange(12, dtype=np.uint8).reshape(3, 4), "classes": np.array(["a", "b"])}
    for name in ("one", "other"):
        write_arrays(tmp_path / name / "images.npz", arrays)
    found = read_arrays(tmp_path / "one/images.npz")
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert (tmp_path / "one/images.npz").read_bytes() == (tmp_path / "other/images.npz").read_bytes()


def test_a_failed_write_keeps_the_earlier_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "images.npz"
    write_arrays(path, {"images": np.zeros(3)})
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(path, {"images": np.array([{}], dtype=object)})
    assert list(read_arrays(path)) == ["images"] and list(tmp_path.iterdir()) == [path]


def test_missing_and_damaged_files_are_refused_in_one_line(tmp_path):
    whole = tmp_path / "whole.npz"
    write_arrays(whole, {"images": np.zeros(100)})
    truncated, other, single = (tmp_path / name for name in ("truncated.npz", "other.npz", "single.npz"))
    truncated.write_bytes(whole.read_bytes()[:60])
    other.write_text("not arrays")
    with single.open("wb") as file:
        np.save(file, np.zeros(3))
    for path in (tmp_path / "missing.npz", truncated, other, single):
        with pytest.raises(InputError, match=path.name) as caught:
            read_arrays(path)
        assert "\n" not in str(caught.value)


def test_kept_epochs_are_found_in_rising_order(tmp_path):
    for epoch in (12, 1, 3):
        (tmp_path / f"epoch_{epoch:04d}.safetensors").touch()
    (tmp_path / "other.json").touch()
    assert list(snapshot_files(tmp_path)) == [1, 3, 12]
    with pytest.raises(InputError, match="no snapshots found"):
        snapshot_files(tmp_path / "nowhere")
