"""`triptych report`: the results so far on the terminal, and as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import ROOT, refused, triptych
from PIL import Image


def ran(root: Path) -> None:
    """Write the files of a run of the VAE study."""
    interval = {"low": 0.1, "high": 0.123}
    files = {
        "metrics/vae.json": {"recognisability": 0.112, "odd[key]": 2, "intervals": {"recognisability": interval}},
        "metrics/timing/vae.json": {"seconds_per_epoch": 13.6, "seconds_total": 204.0, "images_per_second": 812.3},
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(content))


def test_report_before_anything_has_run_is_one_line(project: Path):
    assert "no results yet" in refused("report")
    assert "no results yet" in refused("report", "--json")
    assert "no results yet" in refused("report", "--markdown")


def test_report_shows_numbers_intervals_seconds_and_where_the_page_is(project: Path):
    ran(project)
    Path("plots").mkdir()
    Path("plots/report.html").write_text("")
    done = triptych("report")
    text = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert "recognisability 11.2 % 10.0 to 12.3 %" in text
    assert "odd[key] 2" in text
    assert "vae – 13.60 812 3 min 24 s" in text
    assert done.stdout.splitlines()[-1] == "report: plots/report.html"
    assert "Verdicts" not in text


def claim(id: str, verdict: str, **rest: object) -> dict:
    record = {"id": id, "claim": f"The claim of {id}.", "report_says": "blurry", "figures": [2], "statistic": "it"}
    numbers = {"measured": 0.31, "interval": {"low": 0.3, "high": 0.32}, "threshold": 0.5, "verdict": verdict}
    conditions = [numbers | {"id": "", "statement": "Below the threshold."} | rest]
    return record | numbers | {"finding": "Seen first. Asked? Yes.", "evidence": {}, "conditions": conditions} | rest


def test_report_shows_the_verdicts_once_there_are_some(project: Path):
    ran(project)
    unmeasured = {"measured": None, "interval": None, "threshold": None}
    claims = [
        claim("vae-blurry", "reproduced"),
        claim("other", "not reproduced"),
        claim("c", "inconclusive", **unmeasured),
    ]
    Path("metrics/claims.json").write_text(json.dumps(claims))
    text = " ".join(triptych("report").stdout.split())
    assert "1 reproduced, 1 not reproduced, 1 inconclusive" in text
    assert "● reproduced The claim of vae-blurry. met Below the threshold 31.0 % 50 % (30.0 to 32.0 %)" in text
    assert "◆ not reproduced The claim of other. not met Below the threshold 0.310 0.5 (0.300 to 0.320)" in text
    assert "○ inconclusive The claim of c." in text


def test_report_shows_the_conditions_of_a_claim(project: Path):
    ran(project)
    condition = {"id": "any", "statement": "Below one.", "measured": 0.31, "interval": None, "threshold": 1.0}
    claims = [claim("vae-blurry", "reproduced", conditions=[condition | {"verdict": "not reproduced"}])]
    Path("metrics/claims.json").write_text(json.dumps(claims))
    text = " ".join(triptych("report").stdout.split())
    assert "● reproduced The claim of vae-blurry. not met Below one 0.310 1" in text


def test_the_verdicts_of_two_runs_are_compared(project: Path):
    ran(project)
    Path("metrics/claims.json").write_text(json.dumps([claim("vae-blurry", "reproduced"), claim("here", "reproduced")]))
    Path("real/metrics").mkdir(parents=True)
    open_claim = claim("vae-blurry", "inconclusive", measured=None, interval=None)
    Path("real/metrics/claims.json").write_text(json.dumps([open_claim]))
    assert triptych("report", "--compare", "real").stdout.splitlines() == [
        "| the report says | here | real |",
        "|---|---|---|",
        "| blurry | **reproduced**, 31.0\u00a0% (30.0 to 32.0\u00a0%) | **inconclusive** |",
        "| blurry | **reproduced**, 0.310 (0.300 to 0.320) |  |",
    ]
    assert "nowhere/metrics/claims.json: no such file" in refused("report", "--compare", "nowhere")


def test_a_run_can_be_kept_in_another_folder_without_pictures_of_its_data(project: Path):
    ran(project)
    picture = Image.new("RGB", (40, 40))
    for path in ("plots/figures/fig02_vae_samples_1.png", "plots/figures/fig07_vae_reconstructions_1.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    Path("plots/vae").mkdir()
    Path("plots/vae/training.csv").write_text("epoch,loss\n1,2.0\n")
    for variant in ("simsiam", "of_another_run"):
        for path in (*numbers_of(variant), f"plots/ssl/{variant}_x.csv"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text("{}")
    triptych("archive", "kept")
    Path("kept/metrics/old.json").write_text("{}")
    done = triptych("archive", "kept", "--without-data")
    assert done.returncode == 0, done.stderr
    files = {str(path.relative_to("kept")) for path in Path("kept").rglob("*") if path.is_file()}
    numbers = {"metrics/vae.json", "metrics/timing/vae.json", "plots/vae/training.csv"}
    numbers |= {*numbers_of("simsiam"), "plots/ssl/simsiam_x.csv"}
    assert files == numbers | {"params.yaml", "plots/report.html", "run.json"}
    assert Path("kept/metrics/vae.json").read_text() == Path("metrics/vae.json").read_text()
    page = Path("kept/plots/report.html").read_text()
    assert "Figure 2:" in page and "Figure 7:" not in page and "This copy omits pictures" in page
    assert len(json.loads(Path("kept/run.json").read_text())["versions"]["torch"].split(".")) >= 3
    triptych("archive", "kept")
    assert "Figure 7:" in Path("kept/plots/report.html").read_text()


def numbers_of(variant: str) -> list[str]:
    """Return the files with numbers that the stages of a variant write."""
    folders = ("ssl", "timing/ssl", "clock/ssl", "clock/evaluate_ssl")
    return [f"metrics/{folder}/{variant}.json" for folder in folders]


def test_report_tells_where_the_time_went(project: Path):
    ran(project)
    assert "metrics/clock: no stage has recorded its run time" in refused("report", "--time")
    Path("metrics/clock").mkdir()
    Path("metrics/clock/vae.json").write_text(json.dumps({"started": 10.0, "imported": 12.0, "ended": 300.0}))
    output = triptych("report", "--time").stdout
    assert "| vae | 2.0 | 288.0 | 290.0 |" in output and "4 min 50 s, of which 0 s between stages" in output


def test_a_run_is_not_kept_in_its_own_folder(project: Path):
    ran(project)
    assert "choose another" in refused("archive", ".") and "choose another" in refused("archive", "..")
    assert Path("metrics/vae.json").exists()


def test_a_folder_that_is_no_archive_is_not_emptied(project: Path):
    ran(project)
    for name in ("metrics/mine.json", "plots/mine.png", "run.json"):
        Path("theirs", name).parent.mkdir(parents=True, exist_ok=True)
        Path("theirs", name).write_text('{"speed": 3}')
    before = sorted(Path("theirs").rglob("*"))
    assert "theirs: not a triptych archive" in refused("archive", "theirs")
    assert sorted(Path("theirs").rglob("*")) == before
    assert triptych("archive", "theirs", "--force").returncode == 0
    assert not Path("theirs/metrics/mine.json").exists() and Path("theirs/metrics/vae.json").exists()
    Path("empty").mkdir()
    assert triptych("archive", "empty").returncode == triptych("archive", "empty").returncode == 0


def test_report_compares_the_methods_of_the_third_study_in_one_table(project: Path):
    write_methods()
    text = " ".join(triptych("report").stdout.split())
    assert "SimSiam 43.0 % 0.930 61.2 no (42.0 to 44.0 %)" in text
    assert "without predictor 14.0 % 0.020 61.2 complete from epoch 2 (13.0 to 15.0 %)" in text


def write_methods() -> None:
    """Write the metrics of two encoders, and a params.yaml with these variants."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["ssl"] = {"variants": {"simsiam": {}, "no_predictor": {}}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Path("metrics/ssl").mkdir(parents=True)
    for name, accuracy, std in (("simsiam", 0.43, 0.93), ("no_predictor", 0.14, 0.02)):
        metrics = {
            "knn_accuracy": accuracy,
            "random_init_knn_accuracy": 0.15,
            "embedding_std": std,
            "effective_rank": 61.2,
            "collapsed": std < 0.5,
            "collapse_kind": "complete" if std < 0.5 else "none",
            "collapse_reason": "Seen.",
            "collapsed_since_epoch": 2 if std < 0.5 else None,
            "seeds": [{"seed": 0, "knn_accuracy": accuracy}],
            "intervals": {"knn_accuracy": {"low": accuracy - 0.01, "high": accuracy + 0.01}},
        }
        Path(f"metrics/ssl/{name}.json").write_text(json.dumps(metrics))


@pytest.mark.parametrize("columns", ["100", None])
def test_report_fits_a_hundred_columns_on_a_terminal_and_in_a_pipe(project: Path, columns: str | None):
    ran(project)
    write_methods()
    claims = [claim("vae-blurry", "not reproduced") | {"claim": "Every word wraps within its own column. " * 4}]
    Path("metrics/claims.json").write_text(json.dumps(claims))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {"PYTHONPATH": str(ROOT / "src")} | ({"COLUMNS": columns} if columns else {})
    command = [sys.executable, "-m", "triptych", "report"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert 90 < max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)


def test_report_adds_up_the_time_of_all_stages(project: Path):
    ran(project)
    Path("metrics/timing/ddpm.json").write_text(json.dumps({"seconds_total": 36.0}))
    text = " ".join(triptych("report").stdout.split())
    assert "all 4 min 00 s" in text


def test_report_as_json_holds_the_files(project: Path):
    ran(project)
    document = json.loads(triptych("report", "--json").stdout)
    assert document["metrics"] == {"metrics/vae.json": json.loads(Path("metrics/vae.json").read_text())}
    assert document["timing"]["metrics/timing/vae.json"]["seconds_total"] == 204.0
    assert document["claims"] is None
    assert document["page"] is None


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_metrics_file_is_named(project: Path, content: str):
    ran(project)
    Path("metrics/vae.json").write_text(content)
    assert "metrics/vae.json" in refused("report")
