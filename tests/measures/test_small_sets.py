"""On small or one-class datasets, each number is measured or has a reason why it is not. No NaN, no traceback."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny_generative import CPU, inputs, save_ddpm, save_vae
from tiny_ssl import measured, project, stage, tiny_params, train_and_measure
from toy_images import pictures

from triptych.data.sources.build import save
from triptych.data.storage import Dataset, Split
from triptych.ddpm import sample as ddpm
from triptych.ddpm.measure import DDPMMeasures
from triptych.ddpm.objective import load_trained
from triptych.judge.generated import COMPARED
from triptych.judge.measure import Judge, judge_quality
from triptych.judge.model import Classifier
from triptych.measures import needs
from triptych.measures.estimate import split
from triptych.nn.weights import load_model
from triptych.vae import sample as vae
from triptych.vae.measure import VAEMeasures
from triptych.vae.model import VAE
from triptych.vae.prior import load_mixture

pytestmark = pytest.mark.usefixtures("one_thread")

TEST_LABELS = {
    "two images of a class": np.r_[np.arange(54) % 9, 9, 9],
    "one class alone": np.zeros(40, np.int64),
    "alternating classes": np.arange(40) % 2,
    "two images": np.arange(2),
    "one image": np.zeros(1, np.int64),
}
CLASSLESS = {"recognisability", "real_recognisability"}
MANIFOLDS = {"precision", "recall", "real_precision", "real_recall"}
DISTANCES = {"frechet_distance", "frechet_floor"}
TOP = {
    *("top_latents_share", "top_latents_share_shuffled", "top_latents_share_rotated"),
    *("top_latents_over_shuffled", "top_latents_over_rotated"),
}
RECOGNISED = {"interpolation_recognised", "crossfade_recognised", "interpolation_over_crossfade_recognised"}
PATHS = {"interpolation_smoothness", "crossfade_smoothness", "interpolation_over_crossfade_smoothness"} | RECOGNISED
BY_CLASS = {"reconstruction_same_class"} | TOP
OF_VAE = {
    "two images of a class": TOP,
    "one class alone": CLASSLESS | BY_CLASS | RECOGNISED,
    "alternating classes": set(),
    "two images": MANIFOLDS | TOP | PATHS,
    "one image": CLASSLESS | BY_CLASS | MANIFOLDS | DISTANCES | PATHS | {"active_units"},
}
OF_DDPM = {
    "two images of a class": set(),
    "one class alone": CLASSLESS | {"half_restored_t", "half_restored_reached"},
    "alternating classes": set(),
    "two images": MANIFOLDS,
    "one image": CLASSLESS | MANIFOLDS | DISTANCES | {"half_restored_t", "half_restored_reached"},
}
each_set = pytest.mark.parametrize("name", TEST_LABELS)


def classes(name: str) -> int:
    return int(TEST_LABELS[name].max()) + 1


def dataset(name: str, side: int = 32) -> Dataset:
    labels, count = TEST_LABELS[name], classes(name)
    train = Split(pictures(80)[..., :side, :side], np.arange(80) % count)
    return Dataset(
        train, Split(pictures(len(labels), seed=1)[..., :side, :side], labels), list(map(str, range(count))), "", ""
    )


def judge(name: str) -> Judge:
    torch.manual_seed(0)
    return Judge(Classifier(3, classes(name), 8, [1, 1], 2), CPU, 16)


def in_files(found: dict) -> dict:
    """Return the numbers as they are in a metrics file, in which NaN is not allowed."""
    return json.loads(json.dumps(split(found), allow_nan=False))


@each_set
def test_the_vae_s_numbers_are_those_that_the_images_can_give(name, tmp_path):
    files, data = save_vae(tmp_path), dataset(name)
    drawn = files.arrays(vae, dataset=data)
    network, prior = load_model(files.model, VAE, CPU)[0], load_mixture(files.drawn / "prior.safetensors")
    measures = VAEMeasures(network=network, prior=prior, **inputs(judge(name), data, drawn))
    found = in_files(measures.numbers())
    assert set(found.get("left_out", {})) == OF_VAE[name] and not OF_VAE[name] & found.keys()
    assert set(found["fitted_prior"].get("left_out", {})) == OF_VAE[name] & set(COMPARED)
    table = measures.latents()
    assert len(table) == (12 * classes(name) if classes(name) > 1 else 0) and table.notna().all(axis=None)
    assert drawn["interpolations"].shape[1:] == (4, 3, 32, 32)


@each_set
def test_the_ddpm_s_numbers_are_those_that_the_images_can_give(name, tmp_path):
    files, data = save_ddpm(tmp_path), dataset(name)
    drawn = files.arrays(ddpm, dataset=data)
    measures = DDPMMeasures(method=load_trained(files.model, CPU), **inputs(judge(name), data, drawn))
    found = in_files(measures.numbers())
    assert set(found.get("left_out", {})) == OF_DDPM[name] and not OF_DDPM[name] & found.keys()
    of_row = {"same_class", "same_class_by_chance"} if classes(name) < 2 else set()
    of_row |= {"psnr", "ssim", "ssim_by_chance"} if name == "one image" else set()
    assert all(set(row.get("left_out", {})) == of_row for row in found["restoration"])
    for table, key in ((measures.sampling(), "recognisability"), (measures.guidance(), "recognisability_low")):
        assert table[key].isna().all() == (classes(name) < 2)
        assert table["frechet_distance"].isna().all() == (name == "one image")


@each_set
def test_the_judge_s_own_numbers_take_two_classes(name):
    data = dataset(name)
    found = in_files(judge_quality(judge(name)(data.test.images), data, 0.8, 0.95))
    keys = {"test_accuracy", "test_recognisability"}
    assert (set(found["left_out"]) if classes(name) < 2 else keys & found.keys()) == keys


def test_reasons_say_what_is_needed_and_what_there_is():
    assert "all images are of one class" in needs.two_classes(dataset("one class alone")).reason
    of_class = needs.images_of_each_class(dataset("two images of a class"), 5).reason
    assert of_class == "the measure needs at least 5 test images of class '9', but there are 2"
    assert needs.images(1, 2).reason == "the measure needs at least 2 test images, but there is 1"
    assert needs.images(2, 2) is None and needs.two_classes(dataset("two images")) is None


# --- The third study ---


def encoders(folder: Path, name: str) -> dict:
    """Train and measure a tiny encoder on a set, and return its metrics."""
    project(folder)
    tree = tiny_params()
    tree["evaluation"]["ssl"]["collapse"]["effective_rank"] = 8.0
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    save(dataset(name, side=16), folder / "data/ssl")
    said, found = train_and_measure(folder), measured(folder)
    assert all(reason in said for reason in found.get("left_out", {}).values())
    return found


def test_of_one_class_no_accuracy_is_measured_and_collapse_is(tmp_path):
    found = encoders(tmp_path, "one class alone")
    assert found["left_out"].keys() == {"knn_accuracy", "linear_accuracy"}
    assert {"embedding_std", "effective_rank", "uniformity", "collapsed"} <= found.keys()


def test_of_too_few_images_no_collapse_is_told(tmp_path):
    """The rank of two embeddings is at most two, which does not mean collapse."""
    found = encoders(tmp_path / "two", "two images")
    assert found["left_out"].keys() == {"collapsed", "collapsed_since_epoch", "collapse_kind", "collapse_reason"}
    assert "collapsed" not in found["seeds"][0] and {"knn_accuracy", "effective_rank"} <= found.keys()
    found = encoders(tmp_path / "one", "one image")
    assert {"embedding_std", "effective_rank", "uniformity", "knn_accuracy"} <= found["left_out"].keys()
    course = pd.read_csv(tmp_path / "one/plots/ssl/simsiam_course.csv")
    assert course["test_embedding_std"].isna().all() and math.isfinite(found["alignment"])


def test_a_missing_table_of_losses_is_one_line(tmp_path):
    done = stage(project(tmp_path), "evaluate_ssl.py", "simsiam")
    assert done.returncode == 2 and "simsiam_training.csv: no such file" in done.stderr
