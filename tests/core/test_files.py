"""Text and JSON are written whole or not at all."""

import json
import os

import numpy as np
import pytest
import torch

from triptych.core.files import write_arrays, write_json, write_text
from triptych.data.storage import Dataset, Split, save
from triptych.nn.weights import save_tensors
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
    """DVC can link outputs into its cache (cache.type symlink or hardlink), whose objects must stay as they are."""
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
