"""Where the time goes: what the clocks of stages add up to."""

import json
from pathlib import Path

import pytest

from triptych.core.errors import InputError
from triptych.page.markdown import time_table
from triptych.page.time_spent import COLUMNS, time_spent
from triptych.report.reader import Results

PARAMS = """
ssl:
  variants:
    simsiam: {method: simsiam}
    no_predictor: {method: simsiam}
"""
# Seconds at which each process started, had imported and ended, in the order in which they ran.
RUN = {
    "prepare": (1000, 1001, 1011),
    "vae": (1013, 1016, 1056),  # 2 s of DVC before it
    "evaluate_vae": (1059, 1063, 1083),  # 3 s
    "ssl/simsiam": (1084, 1086, 1106),  # 1 s
    "ssl/no_predictor": (1108, 1110, 1120),  # 2 s
    "figures": (1121, 1122, 1129),  # 1 s
}
TRAINED = {"vae": 35.5, "ssl/simsiam": 18.0, "ssl/no_predictor": 9.0}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name, times in RUN.items():
        write_clock(tmp_path, name, *times)
    for name, seconds in TRAINED.items():
        write(tmp_path / f"metrics/timing/{name}.json", {"seconds_total": seconds})
    return tmp_path


def write_clock(root: Path, name: str, started: float, imported: float, ended: float) -> None:
    write(root / f"metrics/clock/{name}.json", {"started": started, "imported": imported, "ended": ended})


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def table(root: Path) -> dict[str, dict[str, str]]:
    """The cells that are not empty, by row and column."""
    spent = time_spent(Results(root))
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in (*spent.body, *spent.foot)]
    return {row.pop("stage"): {name: cell.replace("\u00a0", " ") for name, cell in row.items() if cell} for row in rows}


def test_every_second_of_a_run_has_its_row_and_column(project: Path):
    found = table(project)
    assert found["prepare"] == {"imports": "1.0", "data": "10.0", "DVC": "2.0", "all": "13.0", "share": "10.1 %"}
    assert found["vae"] == {
        "imports": "3.0", "data": "4.5", "steps": "35.5", "DVC": "3.0", "all": "46.0", "share": "35.7 %"
    }  # fmt: skip
    assert found["evaluate_vae"]["evaluation"] == "20.0"
    assert found["ssl@* (2)"] == {
        "imports": "4.0", "data": "3.0", "steps": "27.0", "DVC": "3.0", "all": "37.0", "share": "28.7 %"
    }  # fmt: skip
    assert found["figures"] == {"imports": "1.0", "drawing": "7.0", "DVC": "0.0", "all": "8.0", "share": "6.2 %"}
    assert found["all"] == {
        "imports": "13.0", "data": "17.5", "steps": "62.5", "evaluation": "20.0", "drawing": "7.0", "DVC": "9.0",
        "all": "129.0",
    }  # fmt: skip
    assert found["share"]["steps"] == "48.4 %"
    spent = time_spent(Results(project))
    assert spent.by_the_clock == 129
    assert spent.sentence == "By the clock it took 2 min 09 s from the first stage to the last one before the page."


def test_a_stage_that_has_not_run_has_dashes_and_a_run_without_clocks_no_table(project: Path):
    found = table(project)
    assert found["ddpm"] == dict.fromkeys(COLUMNS[1:], "–")
    (project / "metrics/clock/ssl/no_predictor.json").unlink()
    assert "ssl@* (1 of 2)" in table(project)
    write(project / "metrics/clock/vae.json", {"started": 1013})
    assert table(project)["vae"] == dict.fromkeys(COLUMNS[1:], "–")
    for path in project.glob("metrics/clock/**/*.json"):
        path.unlink()
    assert time_spent(Results(project)) is None
    with pytest.raises(InputError, match="metrics/clock"):
        time_table(Results(project))


def test_a_variant_that_params_no_longer_name_counts_for_nothing(project: Path):
    before = table(project)
    write_clock(project, "ssl/gone", 1200, 1210, 1300)
    assert table(project) == before


def test_a_long_wait_is_a_pause_and_not_dvc(project: Path):
    write_clock(project, "claims", 1129 + 60, 1190, 1191)
    assert table(project)["figures"]["DVC"] == "60.0"
    write_clock(project, "claims", 1129 + 61, 1191, 1192)
    spent = time_spent(Results(project))
    assert table(project)["figures"]["DVC"] == "0.0"
    assert spent.pauses == [61] and spent.by_the_clock == 129 + 2
    assert "without a pause of more than 60 s between two stages, 1 min 01 s in all" in spent.sentence


def test_stages_side_by_side_wait_for_nothing(project: Path):
    """As by queued experiments; one process lies within the time of another."""
    write_clock(project, "claims", 1020, 1021, 1022)
    spent = time_spent(Results(project))
    assert table(project)["vae"]["DVC"] == "0.0"  # claims began before its end
    assert table(project)["claims"]["DVC"] == "3.0"
    assert spent.by_the_clock == 129


def test_a_resumed_training_has_no_more_steps_than_its_last_process_had_time(project: Path):
    write(project / "metrics/timing/vae.json", {"seconds_total": 100.0})
    found = table(project)["vae"]
    assert (found["steps"], found["data"], found["all"]) == ("40.0", "0.0", "46.0")


def test_the_table_of_markdown_has_the_rows_of_the_page(project: Path):
    lines = time_table(Results(project)).splitlines()
    assert lines[0] == "| stage | imports | data | steps | evaluation | drawing | DVC | all | share |"
    assert "| vae | 3.0 | 4.5 | 35.5 |  |  | 3.0 | 46.0 | 35.7\u00a0% |" in lines
    assert lines[-1] == time_spent(Results(project)).sentence
    assert {line.count("|") for line in lines if line.startswith("|")} == {len(COLUMNS) + 1}
