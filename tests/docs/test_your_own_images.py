"""docs/your_own_images.md: each command runs on a small folder of photos, some of them broken."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from checkouts import check_out
from commands import ROOT, blocks, run
from PIL import Image
from preloaded import programs

PAGE = blocks("your_own_images.md")
TEXT = (ROOT / "docs/your_own_images.md").read_text(encoding="utf-8")
KEPT_VARIANTS = ("simsiam", "no_predictor")

pytestmark = pytest.mark.slow


def photo(stream: np.random.Generator) -> Image.Image:
    """Return a smooth colour image of random size and orientation."""
    wide, high = stream.integers(20, 90, 2)
    return Image.fromarray(stream.integers(0, 256, (4, 5, 3), np.uint8)).resize((wide, high), Image.Resampling.BICUBIC)


def write_photos(folder: Path) -> int:
    """Write 240 photos in several formats into two folders, and five broken files; return the number of photos."""
    stream = np.random.default_rng(0)
    for place in range(240):
        path = folder / ("summer" if place % 2 else "winter") / f"IMG {place:04d}.{('jpg', 'png', 'webp')[place % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(stream).save(path)
    grey = Image.fromarray(stream.integers(0, 65536, (40, 30)).astype(np.uint16))
    grey.save(folder / "winter" / "scan.png")
    whole = (folder / "summer" / "IMG 0003.jpg").read_bytes()
    (folder / "summer" / "cut short.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "summer" / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image")
    (folder / "film.mp4").write_bytes(b"\0" * 100)
    (folder / ".DS_Store").write_bytes(b"\0")
    return 241


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Run the page's commands at smoke sizes with two encoders; return the checkout. Each stage is a new Python."""
    folder = tmp_path_factory.mktemp("own") / "checkout"
    check_out(folder)
    write_photos(folder.parent / "photos")
    with programs(folder.parent / "bin", "triptych"):
        run_page(folder)
    return folder


def run_page(folder: Path) -> None:
    run("triptych profile use smoke", folder)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    [section] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    params |= yaml.safe_load(section)
    params["ssl"]["variants"] = {name: params["ssl"]["variants"][name] for name in KEPT_VARIANTS}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    run(PAGE["split"], folder)
    (folder.parent / "said.txt").write_text(run(PAGE["run"], folder))
    run(PAGE["use"], folder)


def test_what_is_no_image_is_left_out_and_named(project):
    card = json.loads((project / "metrics/data.json").read_text())["ssl"]
    assert card["train_images"] + card["test_images"] == 241 and card["classes"] == []
    left_out = str(card["left_out"])
    for name in ("cut short.jpg", "empty.png", "notes.txt", "film.mp4"):
        assert name in left_out, name
    page = (project / "plots/report.html").read_text(encoding="utf-8")
    assert "notes.txt" in page and "unlabelled" in page


def test_every_study_is_measured_as_far_as_it_can_be_without_labels(project):
    vae, ddpm, simsiam = (json.loads((project / f"metrics/{name}.json").read_text()) for name in
                          ("vae", "ddpm", "ssl/simsiam"))  # fmt: skip
    for numbers in (vae, ddpm):
        assert numbers["frechet_distance"] > 0 and "no labels" in numbers["left_out"]["recognisability"]
    assert simsiam["embedding_std"] > 0 and "no labels" in simsiam["left_out"]["knn_accuracy"]
    verdicts = {claim["id"]: claim for claim in json.loads((project / "metrics/claims.json").read_text())}
    assert verdicts["predictor"]["verdict"] == "not measured" and "no labels" in verdicts["predictor"]["finding"]
    assert "no labels" in (project.parent / "said.txt").read_text()
    drawn = {int(path.name[3:5]) for path in (project / "plots/figures").glob("fig*.png")}
    assert {1, 2, 7, 12, 27, 28, 29, 35, 36, 38, 39, 43, 47, 50} <= drawn


def test_the_models_are_put_to_use(project):
    assert Image.open(project / "samples.png").size[0] > 32
    assert len(list((project / "drawn").glob("*.png"))) == 32
    features = pd.read_parquet(project / "features.parquet")
    readable = json.loads((project / "metrics/data.json").read_text())["ssl"]["test_images"]
    assert len(features) == readable and np.isfinite(features.filter(regex=r"^f\d").to_numpy()).all()
    assert (project / "neighbours.png").exists()
    assert {path.name for path in (project / "exported/simsiam").iterdir()} >= {"README.md", "model.safetensors"}


def test_a_new_photo_is_seen(project):
    assert "Running stage" not in run("dvc repro --dry", project)
    photo(np.random.default_rng(1)).save(project / "datasets/photos/train/new.png")
    assert "Running stage 'prepare'" in run("dvc repro --dry", project)
