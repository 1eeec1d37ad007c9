"""Verdicts on the terminal, and the dependencies of the page on other runs."""

from pathlib import Path

import pytest

from triptych.core.files import write_json
from triptych.core.schema import read_yaml
from triptych.page import build, terminal
from triptych.report.reader import CLAIMS, Results

ROOT = Path(__file__).parents[2]
CONDITION = {
    "id": "c",
    "statement": "Loss is low.",
    "measured": 0.15,
    "interval": {"low": 0.14, "high": 0.16},
    "threshold": 0.5,
    "null": {"name": "shuffled labels", "value": 0.42},
    "verdict": "reproduced",
}


def test_verdicts_are_grouped_with_nulls_and_unmeasured_claims_are_one_list(tmp_path: Path, monkeypatch, capsys):
    kinds = {"argued": ("argument", "partly reproduced"), "shown": ("result", "reproduced")}
    records = [
        {"id": name, "claim": f"{name}.", "kind": kind, "verdict": verdict, "conditions": [CONDITION]}
        for name, (kind, verdict) in kinds.items()
    ]
    gap = CONDITION | {"statement": "Unseen.", "measured": None, "interval": None, "verdict": "not measured"}
    records.append({"id": "gap", "claim": "gap.", "verdict": "not measured", "conditions": [gap]})
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    write_json(tmp_path / CLAIMS, records)
    monkeypatch.setenv("COLUMNS", "80")
    terminal.show(Results(tmp_path))
    lines = capsys.readouterr().out
    text = " ".join(lines.split())
    order = ("Results that", "shown.", "Arguments that", "argued.", "Not measured in this run: gap.")
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("shuffled") == 2 and text.count("0.420") == 2 and "Unseen" not in text
    assert "(0.140 to 0.160)" in lines and all(len(line) <= 80 for line in lines.splitlines())


@pytest.mark.parametrize("folder", build.ARCHIVES.values(), ids=str)
def test_the_page_depends_on_the_verdicts_of_committed_runs(folder: Path):
    path = (folder / CLAIMS).as_posix()
    assert (path in read_yaml(ROOT / "dvc.yaml")["stages"]["report"]["deps"]) == (ROOT / path).exists()
