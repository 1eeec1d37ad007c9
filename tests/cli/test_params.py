"""An error in params.yaml is one line before anything runs, and comments explain every number of params.yaml."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from scripts import run_script

from triptych import params as schema
from triptych.cli import profiles
from triptych.core.errors import InputError
from triptych.core.schema import parse, read, validate
from triptych.data.sources.params import DataParams
from triptych.ddpm.params import UNetParams
from triptych.params import Params
from triptych.vae.params import VAEParams

ROOT = Path(__file__).parents[2]
TEXT = profiles.default_text(ROOT)
DEFAULT = yaml.safe_load(TEXT)
NO_KEY = object()


def changed(key: str, value: object) -> dict:
    """Return default's numbers with one key set or removed."""
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
    """Return the error of a check of a params file with this content."""
    path = folder / "params.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    with pytest.raises(InputError) as caught:
        schema.check(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


# --- The schema ---


def test_the_default_profile_is_valid():
    assert isinstance(schema.validated(DEFAULT, Path("params.yaml")), Params)


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    for key, value, says in [
        # Unknown keys, with the nearest valid name.
        ("vae.training.epocs", 3, "unknown key 'vae.training.epocs'; did you mean 'epochs'?"),
        ("vea", {}, "unknown key 'vea'; did you mean 'vae'?"),
        ("runtime.thread", 1, "unknown key 'runtime.thread'; did you mean 'threads'?"),
        ("data.generative.contrats", 1, "unknown key 'data.generative.contrats'; did you mean 'contrast'?"),
        ("vae.training.optimiser.beta", 1, "unknown key 'vae.training.optimiser.beta'; did you mean 'betas'?"),
        ("ssl.variants.no_predictor.predictr", 1, "unknown key 'ssl.variants.no_predictor.predictr'; did you mean"),
        # A key of the union's other member is unknown to this one.
        ("vae.training.optimiser.momentum", 0.9, "(expected one of betas, learning_rate, name, weight_decay)"),
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
        ("vae", 3, "'vae' is 3: expected a section with keys and values"),
        ("vae.training.optimiser", "adam", "'vae.training.optimiser' is 'adam': expected a section with"),
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
        ("runtime.device", "gpu", "'runtime.device' is 'gpu': expected one of auto, cpu, cuda, mps"),
        ("vae.training.schedule.name", "cosin", "expected one of constant, cosine; did you mean 'cosine'?"),
        ("data.generative.name", "svhm", "name' is 'svhm': expected one of streetdigits, svhn, cifar10"),
        ("data.generative.name", "svhm", "did you mean 'svhn'?"),
        # Keys of another source, left where the name alone was changed.
        (
            "data.ssl.name",
            "svhn",
            "to change the source, replace the whole section: dvc exp run -S '~data.ssl' -S",
        ),
        ("data.ssl.name", "npz", "dvc exp run -S '~data.ssl' -S '+data.ssl={name: npz, root: …}'"),
        ("vae.training.optimiser.name", "adamww", "expected one of adam, adamw, muon, sgd; did you mean 'adamw'?"),
        (
            "vae.training.optimiser.name",
            None,
            "'vae.training.optimiser.name' is 'None': expected one of adam, adamw, muon, sgd",
        ),
        # Numbers that contradict each other; the message names them and does not recite the section.
        ("vae.training.snapshot_epochs", [1, 99], "'vae.training': snapshot_epochs must be at most epochs ("),
        (
            "vae.training.snapshot_epochs",
            [5, 1],
            "'vae.training': snapshot_epochs must be strictly increasing",
        ),
        (
            "sampling.ddpm.guidance.epoch",
            3,
            "sampling.ddpm.guidance: no snapshot of epoch 3; must be one of",
        ),
        ("data.generative.least_resolution", 33, "generative': least_resolution must be at most size (32), got 33"),
        (
            "ddpm.network.head_size",
            64,
            "the channel count of each level with attention must be a multiple of head_size (64), got 96",
        ),
        # Without this check a network would fail after the data were made.
        (
            "vae.network.channels",
            [8] * 6,
            "vae.network: image size 32 (data.generative) is not supported; must be 64, 128, 192",
        ),
        (
            "data.generative.size",
            36,
            "vae.network: image size 36 (data.generative) is not supported; must be 16, 32, 48",
        ),
        ("ddpm.network.patch", 16, "ddpm.network: image size 32 (data.generative) is not supported; must be 64, 128"),
        ("ssl.methods.simsiam.training.batch_size", 1, "'ssl.methods.simsiam.training.batch_size' is 1"),
    ]:
        message = refusal(changed(key, value), tmp_path)
        assert says in message, f"{key}: {message}"


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    """`dvc exp run -S key=0.00005` writes 5e-05, and hashes what it reads: YAML 1.2."""
    path = tmp_path / "params.yaml"
    for text in ("5e-05", "1e-3", "1E5", "010", "0o17", "0x1F", "1_000", "+3", ".5", "yes", "12:30:00", "~", "'1e-3'"):
        value = parse(f"a: {text}", path)["a"]
        dvcs = parse_yaml(f"a: {text}", str(path))["a"]
        assert (value, type(value)) == (dvcs, type(dvcs)), text
    written = TEXT.replace("learning_rate: 0.003 ", "learning_rate: 5e-05 ")
    assert schema.validated(parse(written, path), path).classifier.training.optimiser.learning_rate == 5e-5


def test_a_number_in_quotes_is_explained(tmp_path):
    says = refusal(TEXT.replace("learning_rate: 0.003 ", "learning_rate: '0.003' "), tmp_path)
    assert "'classifier.training.optimiser.learning_rate' is '0.003'" in says and "quoted values are text" in says


def test_a_key_that_stands_twice_is_refused(tmp_path):
    says = refusal(TEXT + "seed: 1\n", tmp_path)
    assert f"line {len(TEXT.splitlines()) + 1}: " in says and 'found duplicate key "seed"' in says


def test_a_file_that_is_no_text_or_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"seed: 0\n# caf\xe9\n")
    with pytest.raises(InputError, match=r"params\.yaml: not UTF-8 \(byte 0xe9 at position 13\)"):
        schema.check(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"params\.yaml: cannot be read: Is a directory"):
        schema.check(path)


def test_whole_numbers_serve_where_fractions_are_allowed():
    params = schema.validated(changed("vae.likelihood_sigma", 1), Path("params.yaml"))
    assert params.vae.likelihood_sigma == 1.0 and isinstance(params.vae.likelihood_sigma, float)


def test_a_file_that_is_no_mapping_or_missing_is_refused(tmp_path):
    for content, says in [
        ("seed: [0\nvae: 1", "not valid YAML"),
        ("seed: 0\n  vae: 1", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("- 1\n- 2", "expected a mapping of sections, got list"),
        ("", "expected a mapping of sections, got NoneType"),
    ]:
        assert says in refusal(content, tmp_path)
    with pytest.raises(InputError, match=r"elsewhere\.yaml: no such file"):
        schema.check(tmp_path / "elsewhere.yaml")


def test_a_stage_reads_its_own_sections_only(tmp_path):
    """A mistake in another study's section stops only that study."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed("vae.training.epochs", 0)))
    assert read(path, seed=int, data=DataParams).seed == DEFAULT["seed"]
    with pytest.raises(InputError, match=r"'vae\.training\.epochs' is 0"):
        read(path, vae=VAEParams)
    path.write_text("seed: 0")
    with pytest.raises(InputError, match="section 'vae' is missing"):
        read(path, vae=VAEParams)


def test_params_cannot_be_changed_once_read():
    params = schema.validated(DEFAULT, Path("params.yaml"))
    with pytest.raises(ValueError, match="frozen"):
        params.vae.training.epochs = 3


def test_a_stage_with_wrong_params_says_one_line_and_leaves_everything(tmp_path):
    for key, stage, says in [
        ("vae.training.epocs", ["train_vae.py"], "did you mean 'epochs'?"),
        ("ssl.variants.no_predictor.predictr", ["train_ssl.py", "no_predictor"], "did you mean 'predictor'?"),
    ]:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(key, 3)))
        done = run_script(ROOT / "stages" / stage[0], *stage[1:], folder=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert says in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


# --- params.yaml explains itself ---

KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?P<value> *[^\s#]\S*)?")


def unexplained(text: str) -> list[str]:
    """Return top-level sections, and the first value of each name, that no comment explains.

    A comment is on the line of the key or above it; the comment of a section counts for its values.
    """
    found, named, sections, above = [], set(), {}, ""
    for line in text.splitlines():
        if key := KEY.match(line):
            depth = len(key["indent"])
            explained = bool(re.search(r"\s#\s*\S", line)) or above.lstrip().startswith("#")
            section = max((at for at in sections if at < depth), default=None)
            if key["value"] is None:
                sections = {at: said for at, said in sections.items() if at < depth} | {depth: explained}
            first = key["name"] not in named and key["value"] is not None
            if not explained and (depth == 0 or (first and not sections.get(section))):
                found.append(key["name"])
            named.add(key["name"])
        above = line
    return found


def test_params_yaml_explains_its_sections_and_numbers_and_nothing_twice(project):
    assert unexplained("# a\nb: 1\n\nc: 2  # c\nd:\n  e:\n    f: 3\n  g: 4  # g\nh:  # h\n  f: 5\n") == ["d", "f"]
    for name in profiles.names():
        profiles.use(name)
        text = (project / "params.yaml").read_text()
        assert unexplained(text) == [], name
        assert not re.search(r"#.*\b(the same$|the same as|as above|see above)", text), name


def test_the_head_names_ten_values_to_try_that_are_in_the_file_and_can_be_changed_alone():
    named = {key: value for key, value, _ in profiles.KNOB.findall(TEXT)}
    assert len(named) == 10 and len(TEXT.splitlines()) <= 250
    others = {"v": "epsilon", "[0.15, 0.5]": "[0.2, 0.6]", "[0.4, 1.0]": "[0.2, 1.0]"}
    for key, shown in named.items():
        value = DEFAULT
        for part in key.split("."):
            value = value[part]
        assert str(value) == shown, key
        other = yaml.safe_load(others.get(shown, "")) or 2 * value + 1
        schema.validated(changed(key, other), Path("params.yaml"))


def test_the_head_shows_the_values_of_the_profile_in_use(project):
    profiles.use("best")
    head = profiles.KNOB.findall((project / "params.yaml").read_text())
    values = {key: value for key, value, _ in head}
    assert values["vae.network.latents"] == "128" and values["ssl.shared.views.crop_scale"] == "[0.2, 1.0]"
    assert "ddpm.process.parameterisation" not in values  # the process edm has none


def test_groups_divide_the_channels_of_every_level(tmp_path):
    unet = {"name": "unet", "stem_width": 20, "width": 16, "multipliers": [1, 2], "heads": 2, "head_size": 8}
    assert validate(UNetParams, unet | {"groups": 8}, "ddpm.network", tmp_path).multiple == 2
    with pytest.raises(InputError, match=r"the channel count of each level must be a multiple of groups \(3\), got 16"):
        validate(UNetParams, unet | {"groups": 3}, "ddpm.network", tmp_path)
