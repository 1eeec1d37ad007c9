"""Commands on trained encoders: their examples run, and wrong input gives one line and no file."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tiny_models
from command_line import refused, triptych
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with encoders and images; it becomes the working directory."""
    tiny_models.encoders(tmp_path)
    monkeypatch.chdir(tmp_path)
    tiny_models.pictures(Path("images"))
    Image.new("RGB", (30, 20)).save("image.png")
    return tmp_path


def example(command: str) -> list[str]:
    """Return the arguments of the example in a command's help."""
    return triptych(command, "--help").stdout.split("Example: triptych ")[1].split()


def test_the_example_of_features_writes_a_table(folder: Path):
    done = triptych(*example("features"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "features.parquet: 16 features of 5 images\n"
    assert list(pd.read_parquet("features.parquet")["path"]) == [
        str(path) for path in sorted(Path("images").rglob("*.png"))
    ]


def test_features_names_the_files_that_it_left_out(folder: Path):
    Path("images/a/0.png").write_bytes(b"broken")
    asked = ("features", "images", "--encoder", "simsiam", "--seed-run", "1", "--layer", "projector", "--out", "f.csv")
    assert "skipped 1 file, not readable: images/a/0.png\n" in triptych(*asked).stdout
    assert json.loads(triptych(*asked, "--json", "--force").stdout) == {
        "encoder": "simsiam",
        "seed_run": 1,
        "layer": "projector",
        "out": "f.csv",
        "images": 4,
        "size": 8,
        "skipped": {"not readable": ["images/a/0.png"]},
    }


def test_the_example_of_neighbours_draws_a_picture(folder: Path):
    done = triptych(*example("neighbours"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\npicture: neighbours.png\n")
    found = json.loads(triptych(*example("neighbours"), "--count", "3", "--json", "--force").stdout)
    assert len(found["neighbours"]) == 3
    assert found["neighbours"][0].keys() == {"index", "similarity", "label"}
    assert {entry["label"] for entry in found["neighbours"]} <= {"dark", "grey", "bright"}
    with Image.open("neighbours.png") as picture:
        assert picture.format == "PNG"


def test_the_example_of_export_writes_a_folder_for_the_hub(folder: Path):
    shutil.copy(tiny_models.ROOT / "params.yaml", folder)
    done = triptych(*example("export"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "exported/simsiam: README.md, config.json, encoder.onnx, model.safetensors\n"
    assert "exists and is not an empty folder" in refused(*example("export"))


WRONG = {
    "features images --encoder simsam --out f.csv": "no encoder 'simsam'; did you mean 'simsiam'?",
    "features images --encoder simsiam --seed-run 7 --out f.csv": "no training run 7; --seed-run must be from 0 to 1",
    "features nowhere --encoder simsiam --out f.csv": "nowhere: no such file",
    "features empty --encoder simsiam --out f.csv": "empty: no images",
    "features images --encoder simsiam --out f.txt": "expected one of .parquet, .csv, .npz",
    "features images --encoder simsiam --out image.png/f.csv": "image.png is not a folder",
    "features images --encoder simsiam --out images.csv": "images.csv: is a folder",
    "features images --encoder simsiam --out there.csv": "there.csv: already exists; replace it with --force",
    "features images --encoder simsiam --layer head --out f.csv": "layer",
    "neighbours image.png --encoder simsiam --out n.gif": "expected one of .png",
    "neighbours image.png --encoder simsiam --out image.png": "image.png: already exists",
    "neighbours image.png --encoder simsiam --count 1000": "--count 1000: must be at most 96",
    "neighbours nowhere.png --encoder simsiam": "no such image file",
    "export gan out": "expected one of classifier, vae, ddpm, or ssl/<variant>",
    "export vae images": "exists and is not an empty folder",
    "export vae out": "models/vae: no trained model; train it with `dvc repro vae`",
    "export ssl/simsiam image.png/out": "image.png is not a folder",
}


def test_wrong_input_gives_one_line_and_no_file(folder: Path):
    Path("empty").mkdir()
    Path("images.csv").mkdir()
    Path("there.csv").touch()
    before = sorted(folder.rglob("*"))
    for arguments, message in WRONG.items():
        assert message in refused(*arguments.split()), arguments
    assert sorted(folder.rglob("*")) == before


def test_without_models_the_commands_that_make_them_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tiny_models.pictures(Path("images"))
    message = refused("features", "images", "--encoder", "simsiam", "--out", "f.csv")
    assert "dvc repro ssl@simsiam" in message and "dvc pull" in message
