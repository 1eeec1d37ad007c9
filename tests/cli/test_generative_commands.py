"""`triptych sample`, `reconstruct`, `interpolate` and `denoise`: examples work; wrong input gives one line, no file."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import ROOT, refused, triptych
from PIL import Image
from tiny_generative import dataset
from tiny_project import trained_project

pytestmark = pytest.mark.usefixtures("one_thread")

COMMANDS = ("sample", "sample vae", "sample ddpm", "reconstruct", "interpolate", "denoise")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    trained_project(folder)
    return folder


@pytest.fixture
def trained(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with tiny trained models and two image files; it becomes the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(kept, folder)
    for name, image in zip(("photo.png", "drawing.jpg"), dataset().test.images, strict=False):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(folder / name)
    monkeypatch.chdir(folder)
    return folder


def files() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


def ran(command: str) -> str:
    """Return the output of a command that must succeed."""
    name, *arguments = shlex.split(command)
    assert name == "triptych"
    done = triptych(*arguments)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def example_of(command: str) -> str:
    """Return the example at the end of a command's help."""
    return " ".join(ran(f"triptych {command} --help").split("Example: ")[1].split())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_each_command_s_help_works(command: str, trained: Path):
    example, before = example_of(command), files()
    assert example.startswith(f"triptych {command} ")
    output = ran(example)
    made = files() - before
    assert made and all(path.endswith(".png") for path in made)
    if "--json" in example:
        assert set(json.loads(output)["written"]) == made
    else:
        assert output.startswith(sorted(made)[0]) and output.count("\n") == 1


def test_the_examples_of_the_readme_work(trained: Path):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use what was trained\n")[1].split("\n## ")[0]
    lines = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].splitlines()
    examples = [line.split("  #")[0].strip() for line in lines]
    mine = [example for example in examples if example.startswith(tuple(f"triptych {name}" for name in COMMANDS))]
    assert {example.split()[1] for example in mine} == {name.split()[0] for name in COMMANDS}
    for example in mine:
        ran(example)


def test_documents_say_what_was_written_and_how(trained: Path):
    done = json.loads(ran("triptych sample ddpm --count 3 --seed 5 --sampler ddim --steps 2 --out three/ --json"))
    assert done.pop("seconds") > 0
    assert done == {
        "written": ["three/0000.png", "three/0001.png", "three/0002.png"],
        "model": "models/ddpm",
        "images": 3,
        "sampler": "ddim",
        "steps": 2,
        "guidance_weight": 1.0,
        "guidance_epoch": None,
        "seed": 5,
    }
    done = json.loads(ran("triptych denoise photo.png --t 30 --json"))
    (image,) = done["images"]
    assert image["image"] == "photo.png" and image["psnr_noised"] > image["psnr_restored"] > 0
    assert (done["written"], done["t"], done["steps"], done["seed"]) == (["denoised.png"], 30, 3, 0)
    done = json.loads(ran("triptych interpolate --seed 2 --json"))
    assert (done["between"], done["prior"], done["seed"], done["steps"]) == (None, "normal", 2, 4)


def test_equal_seeds_write_equal_bytes(trained: Path):
    for command in ("sample ddpm --guided", "sample vae --prior fitted", "denoise photo.png", "interpolate"):
        for out in ("a.png", "b.png", "c.png"):
            ran(f"triptych {command} --seed {1 if out == 'c.png' else 0} --out {out} --force")
        a, b, c = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
        assert a == b and a != c, command


WRONG = {
    "sample ddpm --sampler dim": "'--sampler' is 'dim': expected one of ancestral, ddim",
    "sample ddpm --guidance-epoch 3": "available: 1, 5",
    "sample ddpm --guidance-weight 0.5": "--guidance-weight",
    "sample ddpm --count 0": "--count",
    "sample vae --prior best": "'best' is not one of 'normal', 'fitted'",
    "sample gan": "gan",
    "reconstruct params.yaml": "params.yaml: not readable",
    "reconstruct nowhere.png": "nowhere.png: no such image file",
    "reconstruct --test 81": "--test 81: must be at most 80",
    "reconstruct photo.png --test 3": "cannot be combined",
    "interpolate photo.png": "two images, or none",
    "interpolate photo.png drawing.jpg --seed 1": "random endpoints",
    "interpolate --steps 1": "--steps",
    "denoise --t 0 photo.png": "must be from 1 to 1000",
    "denoise --t 1001 photo.png": "must be from 1 to 1000",
    "sample vae --out samples.jpg": "must end in .png",
    "sample vae --out photo.png": "--force",
    "sample ddpm --out params.yaml/a.png": "cannot be written",
    "denoise photo.png --out params.yaml/a/": "cannot be written",
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_gives_one_line_and_no_file(command: str, trained: Path):
    before = files()
    assert WRONG[command] in refused(*command.split())
    assert files() == before


MISSING = {
    "models/vae": ("sample vae", "dvc repro vae"),
    "models/ddpm": ("denoise photo.png", "dvc pull ddpm"),
    "models/ddpm/config.json": ("sample ddpm", "dvc repro ddpm"),
    "snapshots/ddpm": ("sample ddpm --guided", "snapshots/ddpm: "),
    "samples": ("sample vae --prior fitted", "dvc repro sample@vae"),
    "data": ("reconstruct", "prepare"),
    "params.yaml": ("interpolate photo.png drawing.jpg", "project's root"),
}


@pytest.mark.parametrize("path", MISSING)
def test_missing_files_are_named_with_the_command_that_makes_them(path: str, trained: Path):
    command, words = MISSING[path]
    if Path(path).is_dir():
        shutil.rmtree(path)
    else:
        Path(path).unlink()
    before = files()
    assert words in refused(*command.split())
    assert files() == before


def test_a_model_that_is_no_model_runs_no_code_and_is_refused(trained: Path):
    Path("models/ddpm/model.safetensors").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")  # a pickle of a command
    assert "models/ddpm/model.safetensors: " in refused("sample", "ddpm")
    Path("models/vae/config.json").write_text("{}")
    assert "models/vae/config.json" in refused("reconstruct", "photo.png")
    assert not Path("owned").exists()


def test_test_images_of_another_shape_than_the_model_s_are_refused(trained: Path):
    for split in ("train", "test"):
        path = Path(f"data/generative/{split}_images.npy")
        np.save(path, np.load(path)[:, :1])
    assert "images are 1×32×32, but the model expects 3×32×32" in refused("reconstruct")
