"""Profiles: default is committed, and the others contain only values that differ from it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import ROOT, refused, triptych

from triptych import params as schema
from triptych.cli import profiles
from triptych.core.errors import InputError
from triptych.core.schema import overlaid

DEFAULT = """\
# profile: default. The purpose of default.
# Head of the file.

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

ssl:                       # encoders
  variants:                # one stage each
    first:                 # the baseline
      method: one
    last:
      method: one
      depth: 3             # levels

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
ADDED = """\
ssl:
  variants:
    first:
      depth: 5             # deeper
    wide:                  # a new one,
                           # of another kind
      method: two
      training:
        epochs: 4          # short
    last:
      training:
        epochs: 2          # shorter
      depth: 4             # more
"""


@pytest.fixture
def folder(tmp_path: Path, commit: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a repository of profiles with invented sections that no schema checks."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "params.yaml").write_text(DEFAULT)
    (tmp_path / "profiles/small.yaml").write_text(OVERLAY)
    commit()
    monkeypatch.setattr(schema, "validated", lambda tree, path: tree)
    return tmp_path


def overlays() -> list[str]:
    return profiles.names(ROOT)[1:]


# --- The profiles of the project ---


def test_every_profile_of_the_project_is_valid_says_what_it_is_for_and_comes_and_goes(project: Path):
    before = Path("params.yaml").read_bytes()
    assert set(profiles.names()) >= {"default", "smoke", "report", "best"}
    for name in profiles.names():
        profiles.use(name)
        assert profiles.purpose(name), name
        assert Path("params.yaml").read_text().startswith(f"# profile: {name}. {profiles.purpose(name)}\n")
        assert yaml.safe_load(Path("params.yaml").read_text()) == profiles.merged(name)
        assert profiles.active() == name
        schema.check("params.yaml")
        profiles.use("default")
        assert Path("params.yaml").read_bytes() == before, name


def test_no_profile_lets_a_momentum_encoder_forget_faster_at_the_end():
    """A profile that changes `momentum` alone would inherit the `momentum_end` of its base."""
    for name in overlays():
        methods = profiles.merged(name, ROOT)["ssl"]["methods"]
        if "byol" in methods:
            assert methods["byol"]["momentum"] <= methods["byol"]["momentum_end"] <= 1, name


def test_barlow_twins_takes_equal_steps_where_a_variant_says_so():
    for name in ("full", "real", "report", "best"):
        ssl = profiles.merged(name, ROOT)["ssl"]
        steps = []
        for variant in ("barlow_twins", "barlow_small_batch_steps", "barlow_large_batch_steps"):
            training = ssl["methods"]["barlow_twins"]["training"] | ssl["variants"][variant].get("training", {})
            steps.append(training["epochs"] / training["batch_size"])
        assert max(steps) / min(steps) < 1.15, name


def test_a_profile_holds_only_what_differs_from_its_base():
    for name in overlays():
        overlay = yaml.safe_load((ROOT / f"profiles/{name}.yaml").read_text())
        base = overlay.pop("base", "default")
        before, after = leaves(profiles.merged(base, ROOT)), leaves(profiles.merged(name, ROOT))
        for key in leaves(overlay):
            replaced = before.get(f"{key.rpartition('.')[0]}.name") != after.get(f"{key.rpartition('.')[0]}.name")
            assert key not in after or key not in before or before[key] != after[key] or replaced, (
                f"{name}: {key} repeats {base}"
            )


def leaves(tree: dict, above: str = "") -> dict[str, object]:
    """Return the values of a tree by their dotted keys."""
    found = {}
    for key, value in tree.items():
        found |= leaves(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


# --- Numbers ---


def test_merging_replaces_values_and_whole_sections_of_another_name(folder: Path):
    default = yaml.safe_load(DEFAULT)
    assert profiles.merged("default", folder) == default
    assert profiles.merged("small", folder) == default | {
        "data": {"generative": {"name": "folder", "root": "images"}},
        "training": {"epochs": 3, "optimiser": {"name": "adam", "learning_rate": 0.01}},
    }


def test_a_profile_may_differ_from_another_instead_of_default(folder: Path):
    (folder / "profiles/smaller.yaml").write_text("# Less still.\nbase: small\ntraining:\n  epochs: 1   # one\n")
    assert profiles.merged("smaller", folder) == overlaid(profiles.merged("small", folder), {"training": {"epochs": 1}})
    profiles.use("small", folder)
    small = (folder / "params.yaml").read_text()
    profiles.use("smaller", folder)
    text = (folder / "params.yaml").read_text()
    assert text == small.replace("small. What the overlay is for.", "smaller. Less still.").replace(
        "epochs: 3                # few,\n" + " " * 27 + "# to be quick", "epochs: 1   # one"
    )
    assert profiles.active(folder) == "smaller"


def test_a_base_that_is_no_profile_or_goes_round_is_refused_in_one_line(folder: Path):
    small, other = folder / "profiles/small.yaml", folder / "profiles/other.yaml"
    for base, says in [("smal", "'base' names an unknown profile 'smal'"), ("other", "circular 'base'")]:
        small.write_text(f"base: {base}\n")
        other.write_text("base: small\n")
        with pytest.raises(InputError, match=says):
            profiles.use("small", folder)
        assert (folder / "params.yaml").read_text() == DEFAULT


# --- The default profile ---


def test_the_committed_params_are_the_default_profile():
    """Users may switch profiles, but a committed switch would replace the results of default."""
    committed = subprocess.run(["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, check=True).stdout
    assert committed.decode() == profiles.default_text(ROOT)


def test_default_is_the_newest_commit_that_says_so(folder: Path, commit: Callable[[], None]):
    params = folder / "params.yaml"
    newer = DEFAULT.replace("seed: 0", "seed: 1")
    params.write_text(newer)
    assert profiles.default_text(folder) == DEFAULT  # not committed
    commit()
    profiles.use("small", folder)
    commit()
    assert profiles.default_text(folder) == newer and profiles.active(folder) == "small"
    profiles.use("default", folder)
    assert params.read_text() == newer


def test_without_such_a_commit_one_line_says_what_is_needed(tmp_path: Path, commit: Callable[[], None]):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match="git history of params.yaml: .*not a git repository"):
        profiles.active(tmp_path)
    commit()
    with pytest.raises(InputError, match="no commit has '# profile: default' in params.yaml"):
        profiles.active(tmp_path)


def test_without_git_one_line_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="git not found on PATH"):
        profiles.active(folder)


# --- Text ---


def test_the_written_file_keeps_the_comments_of_default_and_gives_the_overlays_reasons(folder: Path):
    profiles.use("small", folder)
    head, _, rest = DEFAULT.partition("    name: drawn")
    assert (folder / "params.yaml").read_text() == (
        head.replace("default. The purpose of default.", "small. What the overlay is for.")
        + "    name: folder           # one's own\n"
        + "    root: images           # where\n"
        + rest[rest.index("\nssl:") :]
        .replace(
            "  epochs: 15               # passes\n",
            "  epochs: 3                # few,\n" + " " * 27 + "# to be quick\n",
        )
        .replace("0.001   # its pace", "0.01    # its pace")
    )


def test_an_overlay_may_add_variants_and_overrides(folder: Path):
    (folder / "profiles/small.yaml").write_text(ADDED)
    profiles.use("small", folder)
    before, _, rest = DEFAULT.partition("    first:")
    assert (folder / "params.yaml").read_text() == (
        before.replace("default. The purpose of default.", "small")
        + "    first:                 # the baseline\n"
        + "      method: one\n"
        + "      depth: 5             # deeper\n"
        + "    last:\n"
        + "      method: one\n"
        + "      depth: 4             # more\n"
        + "      training:\n"
        + "        epochs: 2          # shorter\n"
        + "    wide:                  # a new one,\n"
        + "                           # of another kind\n"
        + "      method: two\n"
        + "      training:\n"
        + "        epochs: 4          # short\n"
        + rest[rest.index("\n# A note") :]
    )


def test_an_overlay_may_leave_out_variants_but_no_value(folder: Path):
    (folder / "profiles/small.yaml").write_text("ssl:\n  variants:\n    last: null           # takes long\n")
    profiles.use("small", folder)
    assert "last" not in profiles.merged("small", folder)["ssl"]["variants"]
    text = DEFAULT.replace("default. The purpose of default.", "small")
    left = "    last:\n      method: one\n      depth: 3             # levels\n"
    assert (folder / "params.yaml").read_text() == text.replace(left, "")
    profiles.use("default", folder)
    assert (folder / "params.yaml").read_text() == DEFAULT
    # A value may be null, which is for the schema to judge.
    (folder / "profiles/small.yaml").write_text("training:\n  epochs: null\n")
    assert profiles.merged("small", folder)["training"]["epochs"] is None


def test_an_overlay_may_be_written_in_flow_style(folder: Path):
    (folder / "profiles/small.yaml").write_text("training: {epochs: 3, optimiser: {name: sgd}}\n")
    profiles.use("small", folder)
    assert profiles.active(folder) == "small"
    text = (folder / "params.yaml").read_text()
    assert "  epochs: 3                # passes\n" in text and "# A note above the last section.\ntraining:" in text


def test_a_section_on_one_line_gets_a_line_per_value_where_an_overlay_changes_it(folder: Path, commit):
    head = DEFAULT[: DEFAULT.index("  optimiser:")]
    schedule = "  schedule: {name: cosine, steps: 2} # the decay\n"
    (folder / "params.yaml").write_text(f"{head}  optimiser: {{name: adam, rate: 0.001}} # the rule\n{schedule}")
    (folder / "profiles/small.yaml").write_text("training:\n  optimiser:\n    rate: 0.01           # faster\n")
    commit()
    profiles.use("small", folder)
    after = (folder / "params.yaml").read_text().partition("  optimiser:")[2]
    assert " ".join(after.split()) == f"# the rule name: adam rate: 0.01 # faster {schedule.strip()}"
    assert len(after.splitlines()) == 4


# --- The commands ---


def test_a_wrong_profile_leaves_the_params_as_they_were(project: Path):
    before = Path("params.yaml").read_bytes()
    for content, says in [
        ("vae:\n  training:\n    epocs: 3\n", "did you mean 'epochs'?"),
        ("vae:\n  training:\n    epochs: -1\n", "'vae.training.epochs' is -1"),
        ("ssl:\n  variants:\n    simsiam:\n      symetric: false\n", "'ssl.variants.simsiam.symetric'; did you mean"),
        ("vae: [\n", "not valid YAML"),
    ]:
        Path("profiles/wrong.yaml").write_text(content)
        message = refused("profile", "use", "wrong")
        assert "profiles/wrong.yaml: " in message and says in message
        assert Path("params.yaml").read_bytes() == before
        assert sorted(path.name for path in project.iterdir()) == [".git", "params.yaml", "profiles"]


def test_an_unknown_profile_is_told_the_nearest(project: Path):
    assert "no profile 'smok'; did you mean 'smoke'?" in refused("profile", "use", "smok")


def test_profile_use_switches_and_list_marks_the_one_in_use(project: Path):
    shutil.copy("profiles/smoke.yaml", "profiles/mine.yaml")
    with Path("profiles/mine.yaml").open("a") as file:
        file.write("claims:\n  vae:\n    sharpness: 0.4\n")
    assert "params.yaml now contains profile mine" in triptych("profile", "use", "mine").stdout
    lines = triptych("profile", "list").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["mine"]
    assert len(lines) == len(profiles.names())


def test_edits_of_ones_own_are_not_overwritten_without_force(project: Path):
    edited = Path("params.yaml").read_text().replace("seed: 0", "seed: 1")
    Path("params.yaml").write_text(edited)
    assert "--force" in refused("profile", "use", "smoke")
    assert Path("params.yaml").read_text() == edited
    assert "matches no profile" in triptych("profile", "list").stdout
    assert triptych("profile", "use", "smoke", "--force").returncode == 0
    assert profiles.active() == "smoke"


def test_profile_check_names_the_key_the_value_and_what_is_allowed(project: Path):
    assert triptych("profile", "check").stdout == "params.yaml: valid\n"
    assert triptych("profile", "check", "profiles/smoke.yaml").returncode == 0
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("    latents: 32", "    latent: 32\n    latents: 32"))
    assert "unknown key 'vae.network.latent'; did you mean 'latents'?" in refused("profile", "check")
    assert "elsewhere.yaml: no such file" in refused("profile", "check", "elsewhere.yaml")
