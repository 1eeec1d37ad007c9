"""The reader of results: values from files, and errors of one line for missing and damaged files."""

import json
from pathlib import Path

import numpy as np
import pytest

from triptych.core.errors import InputError
from triptych.measures.estimate import Estimate
from triptych.report.reader import Results, UnmeasuredError

METRICS = {
    "accuracy": 0.5,
    "nothing": None,
    "parts": {"prior": 1.5},
    "rows": [{"t": 30, "ssim": 0.9, "intervals": {"ssim": {"low": 0.8, "high": 1.0}}}],
    "intervals": {"accuracy": {"low": 0.4, "high": 0.6}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "metrics/timing").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("evaluation:\n  bootstrap: 500\n")
    (tmp_path / "metrics/vae.json").write_text(json.dumps(METRICS))
    (tmp_path / "metrics/timing/vae.json").write_text('{"seconds_total": 1.5}')
    (tmp_path / "metrics/claims.json").write_text('[{"verdict": "reproduced"}]')
    (tmp_path / "table.csv").write_text("class,latent\n07,3\n")
    np.savez(tmp_path / "arrays.npz", images=np.arange(3))
    return tmp_path


def test_a_number_with_its_interval_is_an_estimate(root: Path):
    metrics = Results(root).metrics("vae")
    assert metrics.estimate("accuracy") == metrics.value("accuracy") == Estimate(0.5, 0.4, 0.6)
    assert metrics.number("accuracy") == 0.5
    assert metrics.rows("rows")[0].estimate("ssim") == Estimate(0.9, 0.8, 1.0)
    assert metrics.rows("no table") == []
    assert metrics.estimate("rows.t=30.ssim") == metrics.value("rows.-1.ssim") == Estimate(0.9, 0.8, 1.0)
    assert metrics.number("parts.prior") == 1.5 and "rows.t=31.ssim" not in metrics and "rows.1.ssim" not in metrics
    assert {key: metrics.leaves()[key] for key in ("accuracy", "parts.prior")} == {
        "accuracy": Estimate(0.5, 0.4, 0.6),
        "parts.prior": 1.5,
    }
    assert "intervals" not in metrics.leaves()


@pytest.mark.parametrize("key", ["nothing", "never heard of"])
def test_a_number_that_is_not_there_is_named_with_its_file(root: Path, key: str):
    metrics = Results(root).metrics("vae")
    assert key not in metrics and metrics.value(key) is None
    with pytest.raises(UnmeasuredError, match=f"metrics/vae.json has no {key}"):
        metrics.number(key)
    with pytest.raises(UnmeasuredError, match="metrics/vae.json has no interval for t"):
        metrics.rows("rows")[0].estimate("t")


def test_tables_arrays_timing_claims_and_params_are_read(root: Path):
    results = Results(root)
    assert results.table("table.csv", "class").to_dict("records") == [{"class": "07", "latent": 3}]
    assert results.arrays("arrays.npz")["images"].tolist() == [0, 1, 2]
    assert results.timing("vae").number("seconds_total") == 1.5
    assert results.claims() == [{"verdict": "reproduced"}]
    assert results.param("evaluation.bootstrap") == 500
    assert results.has("metrics/vae.json") and not results.has("metrics/ddpm.json")


def test_a_missing_or_damaged_file_is_named_in_one_line(root: Path):
    for path, content, read in [
        ("metrics/vae.json", "{", lambda results: results.metrics("vae")),
        ("metrics/vae.json", "[]", lambda results: results.metrics("vae")),
        ("metrics/vae.json", None, lambda results: results.metrics("vae")),
        ("metrics/claims.json", "[{}]", lambda results: results.claims()),
        ("table.csv", "", lambda results: results.table("table.csv")),
        ("table.csv", "class,share\n", lambda results: results.table("table.csv", "latent")),
        ("arrays.npz", "no archive", lambda results: results.arrays("arrays.npz")),
        ("params.yaml", "evaluation:\n", lambda results: results.param("evaluation.bootstrap")),
    ]:
        whole = (root / path).read_bytes()
        (root / path).unlink() if content is None else (root / path).write_text(content)
        with pytest.raises(InputError) as error:
            read(Results(root))
        assert str(error.value).startswith(f"{root / path}: ") and "\n" not in str(error.value)
        (root / path).write_bytes(whole)
