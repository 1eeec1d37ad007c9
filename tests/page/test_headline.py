"""metrics/headline contains the few numbers that `dvc metrics show` prints."""

import json
from pathlib import Path

from triptych.page import build
from triptych.report.reader import Results


def test_headline_numbers_are_copied_and_files_of_removed_variants_deleted(tmp_path: Path):
    interval = {"low": 0.6, "high": 0.8}
    files = {
        "metrics/vae.json": {"frechet_distance": 15.25, "active_units": 32},
        "metrics/timing/vae.json": {"seconds_total": 135.0, "threads": 2},
        "metrics/ssl/simsiam.json": {"knn_accuracy": 0.7, "collapsed": False, "intervals": {"knn_accuracy": interval}},
        "metrics/headline/ssl/gone.json": {"knn_accuracy": 0.1},
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    (tmp_path / "params.yaml").write_text("ssl:\n  variants:\n    simsiam: {method: simsiam}\n")
    build.write_headline(Results(tmp_path))
    folder = tmp_path / "metrics/headline"
    found = {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in folder.rglob("*.json")}
    assert found == {
        "vae.json": {"frechet_distance": 15.25, "seconds_total": 135.0},
        "ssl/simsiam.json": {"knn_accuracy": 0.7, "collapsed": False},
    }
