"""Arrays are written whole or not at all, and what is not arrays is refused."""

import numpy as np
import pytest

from triptych.core.errors import InputError
from triptych.core.files import read_arrays, write_arrays
from triptych.nn.weights import snapshot_files


def test_arrays_come_back_as_they_were_and_as_the_same_bytes(tmp_path):
    arrays = {"images": np.arange(12, dtype=np.uint8).reshape(3, 4), "classes": np.array(["a", "b"])}
    for name in ("one", "other"):
        write_arrays(tmp_path / name / "images.npz", arrays)
    found = read_arrays(tmp_path / "one/images.npz")
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert (tmp_path / "one/images.npz").read_bytes() == (tmp_path / "other/images.npz").read_bytes()


def test_a_failed_write_leaves_the_earlier_file_and_no_part(tmp_path):
    path = tmp_path / "images.npz"
    write_arrays(path, {"images": np.zeros(3)})
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(path, {"images": np.array([{}], dtype=object)})
    assert list(read_arrays(path)) == ["images"] and list(tmp_path.iterdir()) == [path]


def test_missing_truncated_and_other_files_are_told_in_one_line(tmp_path):
    whole = tmp_path / "whole.npz"
    write_arrays(whole, {"images": np.zeros(100)})
    truncated, other, single = (tmp_path / name for name in ("truncated.npz", "other.npz", "single.npz"))
    truncated.write_bytes(whole.read_bytes()[:60])
    other.write_text("not arrays")
    with single.open("wb") as file:
        np.save(file, np.zeros(3))
    for path in (tmp_path / "missing.npz", truncated, other, single):
        with pytest.raises(InputError, match=path.name) as told:
            read_arrays(path)
        assert "\n" not in str(told.value)


def test_kept_epochs_are_found_in_rising_order(tmp_path):
    for epoch in (12, 1, 3):
        (tmp_path / f"epoch_{epoch:04d}.safetensors").touch()
    (tmp_path / "other.json").touch()
    assert list(snapshot_files(tmp_path)) == [1, 3, 12]
    with pytest.raises(InputError, match="no weights of any epoch"):
        snapshot_files(tmp_path / "nowhere")
