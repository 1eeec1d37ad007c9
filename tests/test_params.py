"""Whatever is wrong with params.yaml is said in one line before anything runs, and profiles cannot drift apart."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from triptych import cli, profiles
from triptych import params as schema
from triptych.core.errors import InputError
from triptych.core.schema import read, validate
from triptych.making.params import DataParams
from triptych.params import Params
from triptych.vae.params import VAEParams

ROOT = Path(__file__).parents[1]
PROFILES = ROOT / "profiles"
DEFAULT = yaml.safe_load((PROFILES / "default.yaml").read_text())
OVERLAYS = [path.stem for path in sorted(PROFILES.glob("*.yaml")) if path.stem != "default"]
NO_KEY = object()


def changed(key: str, value: object) -> dict:
    """Default's numbers with one key set, or removed."""
    tree = copy.deepcopy(DEFAULT)
    *sections, last = key.split(".")
    section = tree
    for name in sections:
        section = section[name]
    if value is NO_KEY:
        del section[last]
    else:
        section[last] = value
    return tree


def refusal(tree: object, folder: Path) -> str:
    """What the check of a params file with this content says."""
    path = folder / "params.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    with pytest.raises(InputError) as caught:
        schema.check(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


# --- The schema ---


def test_the_default_profile_is_valid(tmp_path):
    assert isinstance(schema.check(PROFILES / "default.yaml"), Params)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        # Unknown keys, with the nearest valid name.
        ("vae.training.epocs", 3, "unknown key 'vae.training.epocs'; did you mean 'epochs'?"),
        ("vea", {}, "unknown key 'vea'; did you mean 'vae'?"),
        ("runtime.thread", 1, "unknown key 'runtime.thread'; did you mean 'threads'?"),
        ("data.generative.contrats", 1, "unknown key 'data.generative.contrats'; did you mean 'contrast'?"),
        ("vae.training.optimiser.beta", 1, "unknown key 'vae.training.optimiser.beta'; did you mean 'betas'?"),
        # A key of the union's other member is unknown to this one.
        ("vae.training.optimiser.momentum", 0.9, "(allowed here: betas, learning_rate, name, weight_decay)"),
        # Missing keys.
        ("vae", NO_KEY, "key 'vae' is missing"),
        ("vae.training.epochs", NO_KEY, "key 'vae.training.epochs' is missing"),
        ("data.generative.noise", NO_KEY, "key 'data.generative.noise' is missing"),
        ("data.generative.name", NO_KEY, "key 'data.generative.name' is missing"),
        ("vae.training.optimiser.name", NO_KEY, "key 'vae.training.optimiser.name' is missing"),
        # Wrong types.
        ("vae.training.epochs", 1.5, "'vae.training.epochs' is 1.5: input should be a valid integer"),
        ("vae.training.epochs", True, "'vae.training.epochs' is True: input should be a valid integer"),
        ("vae.training.epochs", None, "'vae.training.epochs' is None: input should be a valid integer"),
        ("vae.training.epochs", "three", "'vae.training.epochs' is 'three': input should be a valid integer"),
        ("runtime.compile", "yes", "'runtime.compile' is 'yes': input should be a valid boolean"),
        ("classifier.network.blocks", 3, "'classifier.network.blocks' is 3: input should be a valid list"),
        ("vae", 3, "'vae' is 3: a section of keys and values belongs here"),
        ("vae.training.optimiser", "adam", "'vae.training.optimiser' is 'adam': a section of keys and values"),
        # Out of range.
        ("seed", -1, "'seed' is -1: input should be greater than or equal to 0"),
        ("vae.training.epochs", 0, "'vae.training.epochs' is 0: input should be greater than or equal to 1"),
        ("evaluation.confidence_level", 1.0, "'evaluation.confidence_level' is 1.0: input should be less than 1"),
        ("evaluation.confidence_level", float("nan"), "'evaluation.confidence_level' is nan"),
        ("vae.likelihood_sigma", float("inf"), "'vae.likelihood_sigma' is inf: input should be a finite number"),
        ("classifier.network.blocks", [1, 0], "'classifier.network.blocks.1' is 0: input should be greater"),
        ("classifier.network.blocks", [], "'classifier.network.blocks' is []: list should have at least 1 item"),
        ("vae.training.optimiser.betas", [0.9, 1.0], "'vae.training.optimiser.betas.1' is 1.0: input should be less"),
        # Wrong choices, with the nearest valid one.
        ("runtime.device", "gpu", "'runtime.device' is 'gpu': allowed are auto, cpu, cuda, mps"),
        ("vae.training.schedule.name", "cosin", "allowed are constant, cosine; did you mean 'cosine'?"),
        ("data.generative.name", "svhm", "'data.generative.name' is 'svhm': allowed are streetdigits, svhn, cifar10"),
        ("data.generative.name", "svhm", "did you mean 'svhn'?"),
        ("vae.training.optimiser.name", "adamww", "allowed are adam, adamw, sgd; did you mean 'adamw'?"),
        ("vae.training.optimiser.name", None, "'vae.training.optimiser.name' is 'None': allowed are adam, adamw, sgd"),
        # Numbers that contradict each other; the message names them and does not recite the section.
        ("vae.training.snapshot_epochs", [1, 99], "'vae.training': snapshot epoch 99 lies beyond the last epoch"),
        ("vae.training.snapshot_epochs", [5, 1], "'vae.training': snapshot_epochs must be a rising list of epochs"),
        ("data.generative.least_resolution", 33, "'data.generative': least_resolution 33 is above size 32"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, key, value, says):
    assert says in refusal(changed(key, value), tmp_path)


def test_a_number_that_yaml_takes_for_text_is_explained(tmp_path):
    text = (PROFILES / "default.yaml").read_text().replace("learning_rate: 0.003 ", "learning_rate: 1e-3 ")
    says = refusal(text, tmp_path)
    assert "'classifier.training.optimiser.learning_rate' is '1e-3'" in says and "write 0.001" in says


def test_whole_numbers_serve_where_fractions_are_allowed():
    params = validate(Params, changed("vae.likelihood_sigma", 1), "", Path("params.yaml"))
    assert params.vae.likelihood_sigma == 1.0 and isinstance(params.vae.likelihood_sigma, float)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed: [0\nvae: 1", "not valid YAML"),
        ("seed: 0\n  vae: 1", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("- 1\n- 2", "expected a mapping of sections, found list"),
        ("", "expected a mapping of sections, found NoneType"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content, says):
    assert says in refusal(content, tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        schema.check(tmp_path / "params.yaml")


def test_a_stage_reads_its_own_sections_only(tmp_path):
    """So that a mistake in another study's section stops that study alone."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed("vae.training.epochs", 0)))
    assert read(path, seed=int, data=DataParams).seed == DEFAULT["seed"]
    with pytest.raises(InputError, match=r"'vae\.training\.epochs' is 0"):
        read(path, vae=VAEParams)
    path.write_text("seed: 0")
    with pytest.raises(InputError, match="section 'vae' is missing"):
        read(path, vae=VAEParams)


def test_params_cannot_be_changed_once_read():
    params = schema.check(PROFILES / "default.yaml")
    with pytest.raises(ValueError, match="frozen"):
        params.vae.training.epochs = 3


def test_a_stage_with_wrong_params_says_one_line_and_leaves_everything(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed("vae.training.epocs", 3)))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "stages/train_vae.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "did you mean 'epochs'?" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


# --- params.yaml explains itself ---


def bare_lines(text: str) -> list[str]:
    """Lines with a value, or at the top level, that no comment explains: neither beside them nor right above."""
    lines = ["", *text.splitlines()]
    return [
        line
        for above, line in zip(lines, lines[1:], strict=False)
        if re.match(r"(\w[\w-]*:|\s+(- )?\w[\w-]*: *[^\s#])", line)
        and not re.search(r"\s#\s*\S", line)
        and not above.lstrip().startswith("#")
    ]


def test_every_number_has_a_comment():
    assert bare_lines("# a\nb: 1\n\nc: 2  # c\nd:  # d\n  e:\n    f: 3\n") == ["    f: 3"]
    assert bare_lines((PROFILES / "default.yaml").read_text()) == []


# --- Profiles ---


def test_the_profiles_of_the_project_are_there():
    assert set(profiles.names(PROFILES)) >= {"default", "smoke", "report", "best"}
    assert all(profiles.purpose(name, PROFILES) for name in profiles.names(PROFILES))


def test_params_yaml_is_the_default_profile():
    asked = ["git", "diff", "--quiet", "HEAD", "--", "params.yaml", "profiles/default.yaml"]
    if subprocess.run(asked, cwd=ROOT, capture_output=True).returncode:
        pytest.skip("params.yaml is not as committed: its numbers are the user's own")
    assert (ROOT / "params.yaml").read_bytes() == (PROFILES / "default.yaml").read_bytes()


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_profile_is_valid_as_a_whole(name):
    validate(Params, profiles.merged(name, PROFILES), "", PROFILES / f"{name}.yaml")


def leaves(overlay: dict, base: dict, above: str = "") -> list[tuple[str, object, object]]:
    """(key, overlay's value, default's value); a section of another kind is one value, for it is replaced whole."""
    found = []
    for key, value in overlay.items():
        assert key in base, f"{above}{key} is not in default.yaml"
        other = base[key]
        if isinstance(value, dict) and isinstance(other, dict) and value.get("name", "") in ("", other.get("name")):
            found += leaves(value, other, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value, other))
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_profile_holds_only_what_differs_from_default(name):
    overlay = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    repeated = [key for key, value, other in leaves(overlay, DEFAULT) if value == other]
    assert leaves(overlay, DEFAULT) and not repeated


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_merged_profile_is_default_but_for_its_overlay(name):
    overlay = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    merged = profiles.merged(name, PROFILES)
    for key, value, _ in leaves(overlay, DEFAULT):
        place = merged
        for part in key.split("."):
            place = place[part]
        assert place == value
    replaced = {key for key, *_ in leaves(overlay, DEFAULT)}
    assert set(profiles.differences(merged, DEFAULT)) <= {
        key for key in profiles.differences(merged, DEFAULT) if any(f"{key}.".startswith(f"{r}.") for r in replaced)
    }


# --- Switching ---


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with the profiles and the default params, in which the command runs."""
    (tmp_path / "profiles").mkdir()
    for path in PROFILES.glob("*.yaml"):
        (tmp_path / "profiles" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "params.yaml").write_bytes((PROFILES / "default.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_of:
        cli.app(list(arguments))
    return exit_of.value.code or 0


def is_one_line(captured) -> bool:
    return len(captured.err.splitlines()) == 1 and captured.err.startswith("error: ")


@pytest.mark.parametrize("name", OVERLAYS)
def test_use_writes_the_merged_profile_with_every_comment(project, capsys, name):
    assert command("profile", "use", name) == 0
    text = (project / "params.yaml").read_text()
    assert yaml.safe_load(text) == profiles.merged(name, PROFILES)
    assert name in capsys.readouterr().out
    assert bare_lines(text) == []
    schema.check(project / "params.yaml")


def test_default_comes_back_byte_for_byte(project):
    before = (project / "params.yaml").read_bytes()
    for name in (*OVERLAYS, "default"):
        assert command("profile", "use", name) == 0
    assert (project / "params.yaml").read_bytes() == before


def test_an_unknown_profile_is_refused_with_the_nearest_name(project, capsys):
    before = (project / "params.yaml").read_bytes()
    assert command("profile", "use", "smok") == 2
    captured = capsys.readouterr()
    assert is_one_line(captured) and "did you mean 'smoke'?" in captured.err
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("vae:\n  training:\n    epocs: 3\n", "epochs"),
        ("vae:\n  training:\n    epochs: 0\n", "'vae.training.epochs' is 0"),
        ("vae: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_profile_leaves_params_as_they_were(project, capsys, content, says):
    before = (project / "params.yaml").read_bytes()
    (project / "profiles/mine.yaml").write_text(content)
    assert command("profile", "use", "mine") == 2
    captured = capsys.readouterr()
    assert is_one_line(captured) and says in captured.err and "profiles/mine.yaml" in captured.err
    assert (project / "params.yaml").read_bytes() == before


def test_a_user_s_own_numbers_are_not_overwritten_unasked(project, capsys):
    own = (project / "params.yaml").read_text().replace("seed: 0 ", "seed: 7 ")
    (project / "params.yaml").write_text(own)
    assert command("profile", "use", "smoke") == 2
    assert is_one_line(capsys.readouterr()) and (project / "params.yaml").read_text() == own
    assert command("profile", "use", "smoke", "--force") == 0
    assert profiles.active() == "smoke"


def test_a_user_s_own_profile_is_a_file_in_the_folder(project):
    (project / "profiles/mine.yaml").write_text("# My own.\nvae:\n  training:\n    epochs: 20  # a few more\n")
    assert command("profile", "use", "mine") == 0
    assert yaml.safe_load((project / "params.yaml").read_text()) == changed("vae.training.epochs", 20)


def test_check_passes_what_is_valid_and_refuses_the_rest(project, capsys):
    assert command("profile", "check") == 0
    (project / "params.yaml").write_text(yaml.safe_dump(changed("runtime.device", "gpu")))
    capsys.readouterr()
    assert command("profile", "check") == 2
    captured = capsys.readouterr()
    assert is_one_line(captured) and "'runtime.device' is 'gpu'" in captured.err


def test_the_command_is_also_a_module(project):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    for arguments, code in ((["profile", "use", "smoke"], 0), (["profile", "use"], 2), (["profile", "use", "no"], 2)):
        done = subprocess.run([sys.executable, "-m", "triptych", *arguments], env=environment, capture_output=True)
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == (1 if code else 0)
    assert profiles.active() == "smoke"
