"""The command line: profiles that cannot drift apart, results on the terminal, errors of one line and exit code 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from triptych import params as schema
from triptych import profiles
from triptych.core.errors import InputError

ROOT = Path(__file__).parents[1]
DEFAULT = """\
# Head of the file.
# The purpose of default.

seed: 0                    # of everything

runtime:                   # where stages run
  launch: python           # what starts a stage
  threads: 0               # all cores

data:                      # images
  generative:              # of the judge
    name: drawn            # the kind
    size: [32, 48]         # pixels, low and high,
                           # of a side
    noise: 0.1             # of the sensor

# A note above the last section.
training:                  # how to learn
  epochs: 15               # passes
  optimiser:               # the rule
    name: adam             # or sgd
    learning_rate: 0.001   # its pace
"""
OVERLAY = """\
# What the overlay
# is for.
data:
  generative:
    name: folder           # one's own
    root: images           # where
training:
  epochs: 3                # few,
                           # to be quick
  optimiser:
    learning_rate: 0.01
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of profiles whose sections this test has made up."""
    (tmp_path / "default.yaml").write_text(DEFAULT)
    (tmp_path / "small.yaml").write_text(OVERLAY)
    return tmp_path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the real profiles and params, in which nothing has run; the working directory."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "profiles/default.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def triptych(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120"}
    command = [sys.executable, "-m", "triptych", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def refused(*arguments: str) -> str:
    """The one line of a command that must fail."""
    done = triptych(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


# Profiles -------------------------------------------------------------------------------------------------------------


def test_the_committed_params_are_a_profile():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "profiles/default.yaml").read_bytes()


@pytest.mark.parametrize("name", profiles.names(ROOT / "profiles"))
def test_every_profile_is_valid_and_says_what_it_is_for(name: str):
    profiles.check(name, ROOT / "profiles")
    assert profiles.purpose(name, ROOT / "profiles")


@pytest.mark.parametrize("name", profiles.names(ROOT / "profiles"))
def test_using_a_profile_writes_its_numbers_and_default_restores_every_byte(project: Path, name: str):
    before = Path("params.yaml").read_bytes()
    profiles.use(name)
    assert yaml.safe_load(Path("params.yaml").read_text()) == profiles.merged(name)
    assert profiles.active() == name
    schema.check("params.yaml")
    profiles.use("default")
    assert Path("params.yaml").read_bytes() == before


def test_an_overlay_holds_only_what_differs():
    default = profiles.merged("default", ROOT / "profiles")
    for name in profiles.names(ROOT / "profiles")[1:]:
        overlay = yaml.safe_load((ROOT / f"profiles/{name}.yaml").read_text())
        changed = profiles.differences(default, profiles.merged(name, ROOT / "profiles"))
        for key in leaves(overlay):
            section = key.rpartition(".")[0]
            replaced = f"{section}.name" in changed
            assert key in changed or replaced, f"{name}: {key} repeats default"


def leaves(tree: dict, above: str = "") -> list[str]:
    return [
        leaf
        for key, value in tree.items()
        for leaf in (leaves(value, f"{above}{key}.") if isinstance(value, dict) else [f"{above}{key}"])
    ]


def test_merging_replaces_values_and_whole_sections_of_another_name(folder: Path):
    assert profiles.merged("small", folder) == {
        "seed": 0,
        "runtime": {"launch": "python", "threads": 0},
        "data": {"generative": {"name": "folder", "root": "images"}},
        "training": {"epochs": 3, "optimiser": {"name": "adam", "learning_rate": 0.01}},
    }


def test_the_written_file_keeps_the_comments_of_default_and_gives_the_overlays_reasons(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(schema, "Params", dict)
    profiles.use("small", folder, folder / "params.yaml")
    head, _, rest = DEFAULT.partition("    name: drawn")
    assert (folder / "params.yaml").read_text() == (
        head
        + "    name: folder           # one's own\n"
        + "    root: images           # where\n"
        + rest[rest.index("\n# A note") :]
        .replace(
            "  epochs: 15               # passes\n",
            "  epochs: 3                # few,\n" + " " * 27 + "# to be quick\n",
        )
        .replace("0.001   # its pace", "0.01    # its pace")
    )


def test_an_overlay_with_an_unknown_key_is_refused_by_its_full_name(folder: Path):
    (folder / "small.yaml").write_text("training:\n  optimiser:\n    learning_rat: 1.0\n")
    with pytest.raises(
        InputError, match=r"small\.yaml: unknown key 'training\.optimiser\.learning_rat'; .*learning_rate"
    ):
        profiles.merged("small", folder)


def test_an_overlay_that_cannot_be_merged_line_by_line_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schema, "Params", dict)
    (folder / "small.yaml").write_text("training: {epochs: 3}\n")
    with pytest.raises(InputError, match="one key a line"):
        profiles.use("small", folder, folder / "params.yaml")
    assert not (folder / "params.yaml").exists()


def test_a_wrong_profile_leaves_the_params_as_they_were(project: Path):
    before = Path("params.yaml").read_bytes()
    Path("profiles/wrong.yaml").write_text("vae:\n  training:\n    epochs: -1\n")
    message = refused("profile", "use", "wrong")
    assert "profiles/wrong.yaml: 'vae.training.epochs' is -1" in message
    assert Path("params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "profiles"]


def test_an_unknown_profile_is_told_the_nearest(project: Path):
    assert "no profile 'smok'; did you mean 'smoke'?" in refused("profile", "use", "smok")


def test_profile_use_switches_and_list_marks_the_one_in_use(project: Path):
    assert "params.yaml now holds profile smoke" in triptych("profile", "use", "smoke").stdout
    lines = triptych("profile", "list").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["smoke"]
    assert len(lines) == len(profiles.names())


def test_edits_of_ones_own_are_not_overwritten_without_force(project: Path):
    edited = Path("params.yaml").read_text().replace("seed: 0", "seed: 1")
    Path("params.yaml").write_text(edited)
    assert "--force" in refused("profile", "use", "smoke")
    assert Path("params.yaml").read_text() == edited
    assert triptych("profile", "use", "smoke", "--force").returncode == 0
    assert profiles.active() == "smoke"


def test_profile_check_names_the_key_the_value_and_what_is_allowed(project: Path):
    assert triptych("profile", "check").stdout == "params.yaml: valid\n"
    assert triptych("profile", "check", "profiles/smoke.yaml").returncode == 0
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("    latents: 32", "    latent: 32\n    latents: 32"))
    assert "unknown key 'vae.network.latent'; did you mean 'latents'?" in refused("profile", "check")
    assert "elsewhere.yaml: no such file" in refused("profile", "check", "elsewhere.yaml")


# Results --------------------------------------------------------------------------------------------------------------


def ran(root: Path) -> None:
    """Files as a run of the VAE study leaves them."""
    interval = {"low": 0.1, "high": 0.123}
    files = {
        "metrics/vae.json": {"recognisability": 0.112, "odd[key]": 2, "intervals": {"recognisability": interval}},
        "metrics/timing/vae.json": {"seconds_per_epoch": 13.6, "seconds_total": 204.0, "images_per_second": 812.3},
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(content))


def test_report_before_anything_has_run_is_one_line(project: Path):
    assert "nothing has run here yet" in refused("report")
    assert "nothing has run here yet" in refused("report", "--json")


def test_report_shows_numbers_intervals_seconds_and_where_the_page_is(project: Path):
    ran(project)
    Path("plots").mkdir()
    Path("plots/report.html").write_text("")
    done = triptych("report")
    text = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert "recognisability 11.2 % 10.0 to 12.3 %" in text
    assert "odd[key] 2" in text
    assert "vae 3 min 24 s" in text
    assert done.stdout.splitlines()[-1] == "the report: plots/report.html"
    assert "Verdicts" not in text


def claim(id: str, verdict: str, **rest: object) -> dict:
    record = {"id": id, "claim": f"The claim of {id}.", "report_says": "blurry", "figures": [2], "statistic": "it"}
    numbers = {"measured": 0.31, "interval": {"low": 0.3, "high": 0.32}, "threshold": 0.5}
    return record | numbers | {"verdict": verdict, "finding": "Seen first. Asked? Yes.", "evidence": {}} | rest


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
    assert "● reproduced The claim of vae-blurry. 31.0 % Seen first. 30.0 to 32.0 % threshold 50.0 %" in text
    assert "◆ not reproduced The claim of other. 0.310 Seen first. 0.300 to 0.320 threshold 0.500" in text
    assert "○ inconclusive The claim of c. – Seen first." in text


def test_report_compares_the_methods_of_the_third_study_in_one_table(project: Path):
    write_methods()
    text = " ".join(triptych("report").stdout.split())
    assert "SimSiam 43.0 % 42.0 to 44.0 % 15.0 % – 0.930 61.2 no" in text
    assert "without predictor 14.0 % 13.0 to 15.0 % 15.0 % – 0.020 61.2 complete, from epoch 2" in text


def write_methods() -> None:
    """The third study's numbers, as far as it has variants in params.yaml."""
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
    finding = "Every word of a long finding wraps within its own column. " * 4
    claims = [claim("vae-blurry", "not reproduced", finding=finding.strip())]
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


# The rest -------------------------------------------------------------------------------------------------------------


def test_doctor_tells_of_the_machine_the_params_and_the_data(project: Path):
    found = json.loads(triptych("doctor", "--json").stdout)
    assert found["threads"] >= 1
    assert found["versions"]["torch"]
    assert found["params"] == {"path": "params.yaml", "problem": None, "profile": "default"}
    assert "data/generative/card.json: no such file" in found["data"]["generative"]


def test_doctor_diagnoses_what_stops_other_commands(project: Path):
    Path("params.yaml").write_text("seed: zero\n")
    done = triptych("doctor")
    assert done.returncode == 0
    assert "'seed' is 'zero'" in done.stdout or "is missing" in done.stdout
    Path("params.yaml").unlink()
    assert "no such file" in triptych("doctor").stdout


@pytest.mark.parametrize("arguments", [["repot"], ["profile", "use"], ["report", "--jsn"], ["doctor", "now"]])
def test_wrong_usage_is_one_line(project: Path, arguments: list[str]):
    assert "--help" in refused(*arguments)


@pytest.mark.parametrize("command", ["", "profile", "profile list", "profile use", "profile check", "report", "doctor"])
def test_help_shows_an_example(project: Path, command: str):
    done = triptych(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example: triptych" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["profile"]])
def test_a_bare_command_shows_its_help(project: Path, arguments: list[str]):
    done = triptych(*arguments)
    assert done.returncode == 0
    assert "Commands:" in done.stdout


def test_the_command_line_starts_without_what_takes_long_to_import():
    code = (
        "import sys, triptych.cli; print(sorted({'torch', 'pandas', 'matplotlib', 'jinja2', 'dvc'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
