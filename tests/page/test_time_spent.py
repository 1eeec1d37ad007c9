"""The time table adds up the seconds of the stages."""

import json
from pathlib import Path

import pytest

from triptych.core.errors import InputError
from triptych.page.tables import time_markdown, time_spent
from triptych.report.reader import Results

PARAMS = """
ssl:
  variants:
    simsiam: {method: simsiam}
    no_predictor: {method: simsiam}
"""
# Seconds at which each process started, finished its imports and ended, in the order of the run.
RUN = {
    "prepare": (1000, 1001, 1011),
    "vae": (1013, 1016, 1056),  # 2 s of DVC before it
    "evaluate_vae": (1059, 1063, 1083),  # 3 s
    "ssl/simsiam": (1084, 1086, 1106),  # 1 s
    "ssl/no_predictor": (1108, 1110, 1120),  # 2 s
    "figures": (1121, 1122, 1129),  # 1 s
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name, times in RUN.items():
        write_clock(tmp_path, name, *times)
    return tmp_path


def write_clock(root: Path, name: str, started: float, imported: float, ended: float) -> None:
    write(root / f"metrics/clock/{name}.json", {"started": started, "imported": imported, "ended": ended})


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def table(root: Path) -> dict[str, list[str]]:
    """Return the cells of each row."""
    spent, _ = time_spent(Results(root))
    return {name: [cell.replace("\u00a0", " ") for cell in cells] for name, *cells in (*spent.rows, *spent.totals)}


def sentence(root: Path) -> str:
    return time_spent(Results(root))[1]


def test_every_second_of_a_process_is_in_the_table(project: Path):
    found = table(project)
    assert found["prepare"] == ["1.0", "10.0", "11.0", "9.2 %"]
    assert found["vae"] == ["3.0", "40.0", "43.0", "35.8 %"]
    assert found["ssl@* (2)"] == ["4.0", "30.0", "34.0", "28.3 %"]
    assert found["all"] == ["13.0", "107.0", "120.0", "100.0 %"]
    assert sentence(project) == (
        "Wall-clock time without the report stage: 2 min 09 s, of which 9 s between stages (DVC)."
    )


def test_a_stage_that_has_not_run_has_dashes_and_a_run_without_clocks_no_table(project: Path):
    assert table(project)["ddpm"] == ["–"] * 4
    (project / "metrics/clock/ssl/no_predictor.json").unlink()
    assert "ssl@* (1 of 2)" in table(project)
    write(project / "metrics/clock/vae.json", {"started": 1013})
    assert table(project)["vae"] == ["–"] * 4
    for path in project.glob("metrics/clock/**/*.json"):
        path.unlink()
    assert time_spent(Results(project)) is None
    with pytest.raises(InputError, match="metrics/clock"):
        time_markdown(Results(project))


def test_clocks_of_removed_variants_are_ignored(project: Path):
    before = table(project)
    write_clock(project, "ssl/gone", 1200, 1210, 1300)
    assert table(project) == before


def test_a_long_gap_is_a_pause_and_not_dvc(project: Path):
    write_clock(project, "claims", 1129 + 60, 1190, 1191)
    assert "of which 1 min 09 s between stages" in sentence(project)
    write_clock(project, "claims", 1129 + 61, 1191, 1192)
    assert sentence(project).startswith("Wall-clock time without the report stage: 2 min 11 s, of which 9 s between")
    assert "Not counted: one pause of more than 60 s, 1 min 01 s in total." in sentence(project)


def test_overlapping_stages_leave_no_gap(project: Path):
    """Queued experiments run stages in parallel."""
    write_clock(project, "claims", 1020, 1021, 1022)
    assert "2 min 09 s, of which 9 s between stages" in sentence(project)
