"""Text and JSON are written whole or not at all."""

import json

import pytest

from triptych.core.files import write_json, write_text


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
