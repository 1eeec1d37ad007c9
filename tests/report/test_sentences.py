"""The result line of a figure quotes numbers of the files, each with the path of its file."""

import json
from pathlib import Path

import pytest
import yaml

from triptych.report.reader import Results, UnmeasuredError
from triptych.report.sentences import Facts, plain, sources
from triptych.studies import METRICS, STUDIES, writers

ROOT = Path(__file__).parents[2]
FIGURES = {figure.number: figure for study in STUDIES for figure in study.figures}
VAE_METRICS = {
    "recognisability": 0.112,
    "real_recognisability": 0.997,
    "intervals": {"recognisability": {"low": 0.1, "high": 0.123}},
}
TIMING = {"seconds_per_epoch": 13.6, "seconds_total": 204.0, "images_per_second": 812.3}
METRICS_OF_DDPM = {
    "recognisability": 0.408,
    "real_recognisability": 0.997,
    "restoration": [
        {"t": 30, "same_class": 1.0, "psnr": 30.2, "ssim": 0.92, "intervals": {"same_class": {"low": 0.98, "high": 1}}},
        {"t": 120, "same_class": 0.995, "psnr": 26.5, "ssim": 0.88},
    ],
    "half_restored_t": 120.0,
    "half_restored_reached": False,
}
METRICS_OF_SSL = {
    "simsiam": {"knn_accuracy": 0.426, "random_init_knn_accuracy": 0.15, "embedding_std": 0.93, "final_loss": -0.93},
    "no_stop_gradient": {
        "knn_accuracy": 0.142,
        "random_init_knn_accuracy": 0.15,
        "embedding_std": 0.02,
        "final_loss": -1.0,
        "collapsed": True,
        "collapse_kind": "complete",
        "collapsed_since_epoch": 2,
        "intervals": {"knn_accuracy": {"low": 0.12, "high": 0.16}},
    },
    "projector_4096": {"knn_accuracy": 0.44, "random_init_knn_accuracy": 0.15, "final_loss": -0.92},
}
VARIANTS = {
    "simsiam": {"projector_dim": 512},
    "no_stop_gradient": {},
    "projector_4096": {"projector_dim": 1024},
}
PARAMS = {"ssl": {"variants": VARIANTS}, "vae": {"training": {"epochs": 2, "snapshot_epochs": [1, 2]}}}


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    contents = {"vae": VAE_METRICS, "ddpm": METRICS_OF_DDPM, "timing/vae": TIMING}
    contents |= {f"ssl/{variant}": content for variant, content in METRICS_OF_SSL.items()}
    for name, content in contents.items():
        (tmp_path / f"metrics/{name}.json").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"metrics/{name}.json").write_text(json.dumps(content))
    (tmp_path / "plots/vae").mkdir(parents=True)
    rows = "".join(f"0,{z},{share}\n" for z, share in enumerate((0.1, 0.4, 0.2, 0.3)))
    (tmp_path / "plots/vae/latents.csv").write_text(f"class,latent,share\n{rows}")
    (tmp_path / "plots/vae/training.csv").write_text("epoch,loss,nll\n1,30.5,\n2,20.25,18.5\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    return facts_in(tmp_path)


def facts_in(root: Path) -> Facts:
    results = Results(root)
    return Facts(results, METRICS, writers(results.params))


def said(facts: Facts, number: int) -> str:
    return plain(facts.sentence(FIGURES[number])).replace("\u00a0", " ")


def test_a_sentence_gives_the_files_own_numbers(facts: Facts):
    for number, words in [
        (1, "13.60 s on average, 812 images per second; training takes 3 min 24 s."),
        (12, "recognises 11.2 % (10.0 to 12.3 %)"),
        (36, "Restored from t = 30, 100.0 % (98.0 to 100.0 %) of test images keep their class, with an SSIM of 0.920"),
        (38, "Restored from t = 120, 99.5 % of"),
        (44, "with stop-gradient 42.6 %, without 14.2 % (12.0 to 16.0 %); untrained encoder 15.0 %."),
        (45, "Loss at the end: with stop-gradient −0.930, without −1.000."),
        (48, "smaller output 42.6 %, larger output 44.0 %"),
        (51, "1 of 1 variants count as collapsed: without stop-gradient."),
        (52, "More than half of the test images keep their class even from t = 120: 99.5 %."),
    ]:
        assert words in said(facts, number), number


def test_every_number_of_a_sentence_knows_its_file_and_stage(facts: Facts):
    assert sources(facts.sentence(FIGURES[44])) == {
        "metrics/ssl/simsiam.json": "evaluate_ssl@simsiam",
        "metrics/ssl/no_stop_gradient.json": "evaluate_ssl@no_stop_gradient",
    }


def test_a_sheet_goes_by_the_epochs_of_this_run(facts: Facts):
    assert said(facts, 2) == (
        "Epoch 1 of 2: training loss 30.5 nats per image, after the last epoch 20.25 nats per image."
    )


def test_a_gap_in_a_table_is_no_number(facts: Facts):
    with pytest.raises(UnmeasuredError, match=r"plots/vae/training.csv has no epoch=1.nll"):
        facts.filled("{plots/vae/training:epoch=1.nll}")


def test_the_strongest_latents_of_a_class_are_named_from_the_table(facts: Facts):
    assert said(facts, 17).endswith("class 0 from the mean of all images: z1 40 %, z3 30 %, z2 20 %.")
    assert said(facts, 18) == ""  # the dataset has one class


def test_without_its_numbers_nothing_is_said(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    facts = facts_in(tmp_path)
    assert [number for number in FIGURES if facts.sentence(FIGURES[number])] == []


def test_every_number_of_the_committed_run_names_the_stage_that_wrote_it():
    """A file that no study lists would be linked without its stage."""
    facts = facts_in(ROOT)
    told = {number: facts.sentence(figure) for number, figure in FIGURES.items()}
    assert len([number for number, sentence in told.items() if sentence]) > 50
    lost = {
        (number, path) for number, sentence in told.items() for path, stage in sources(sentence).items() if not stage
    }
    assert lost == set()
