"""The graph of dvc.yaml: each stage depends on exactly what it uses, so that a change re-runs exactly what it concerns.

DVC is real here and the stages are not: in a throw-away copy each stage's script is replaced by one that writes the
stage's outputs at once, new ones on each run.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())

STAND_IN = """
import json, os, pathlib, sys, uuid
for out, kind in json.loads(pathlib.Path("outputs.json").read_text())[sys.argv[1]].items():
    path = pathlib.Path(out)
    old = os.environ.get("ONLY_TIMING") and "timing" not in out
    content = "old" if old else uuid.uuid4().hex
    if kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        path = path / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"number": content}) if path.suffix == ".json" else content)
"""


@dataclass(frozen=True)
class Stage:
    """A stage as DVC resolved it: `params` are dotted keys of params.yaml, `outs` DVC's output objects by path."""

    name: str
    script: Path
    desc: str | None
    deps: frozenset[str]
    params: frozenset[str]
    outs: dict

    @property
    def code(self) -> set[str]:
        """Deps that are source."""
        return {path for path in self.deps if path.startswith(("src/", "stages/"))}


@cache
def pipeline() -> dict[str, Stage]:
    """The stages of dvc.yaml by name."""
    found = {}
    for stage in Repo(str(ROOT)).index.stages:
        params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        found[stage.addressing] = Stage(
            name=stage.addressing,
            script=ROOT / re.search(r"stages/\w+\.py", str(stage.cmd))[0],
            desc=stage.desc,
            deps=frozenset(dep.def_path for dep in stage.deps if dep not in params),
            params=frozenset(key for dep in params for key in dep.params),
            outs={out.def_path: out for out in stage.outs},
        )
    return found


def stages() -> list:
    return [pytest.param(stage, id=name) for name, stage in sorted(pipeline().items())]


# --- What each stage lists ---


def local_modules(path: Path) -> Iterator[Path]:
    """The files of triptych's modules that a file imports, anywhere in it. Package files hold a docstring only."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = SOURCE / f"{name.replace('.', '/')}.py"
            if name.startswith("triptych.") and module.exists():
                yield module


@cache
def closure(script: Path) -> frozenset[Path]:
    """A script, every module of triptych that it imports, and those that they import; and the files these load."""
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += local_modules(path)
    texts = [path.read_text() for path in found]
    loaded = {
        path
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and any(path.name in text for text in texts)
    }
    return frozenset(found | loaded)


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_exactly_the_code_that_it_imports(stage):
    used = {str(path.relative_to(ROOT)) for path in closure(stage.script)}
    assert used - stage.code == set(), "imported, but not among the deps"
    assert stage.code - used == set(), "among the deps, but not imported"


@pytest.mark.parametrize("stage", stages())
def test_a_stage_reads_from_other_stages_what_it_names(stage):
    made = {path for other in pipeline().values() if other != stage for path in other.outs} | {"params.yaml"}
    text = "\n".join(path.read_text() for path in closure(stage.script))
    variant = stage.name.partition("@")[2]
    for path in stage.deps - stage.code:
        assert path in made or any(out.startswith(f"{path}/") for out in made), f"{path} is no stage's output"
        # The script of a variant is told its name.
        general = path.replace(f"/{variant}", "/{name}") if variant else path
        places = (general, Path(path).stem, str(Path(general).parent))
        assert any(place in text for place in places), f"{path} is among the deps, but nothing reads it"


@pytest.mark.parametrize("stage", stages())
def test_a_stage_lists_the_sections_of_params_that_it_reads(stage):
    calls = [node for node in ast.walk(ast.parse(stage.script.read_text())) if isinstance(node, ast.Call)]
    read = [call for call in calls if ast.unparse(call.func) == "read"]
    sections = {keyword.arg for call in read for keyword in call.keywords}
    if read:
        assert {key.split(".")[0] for key in stage.params} == sections


@pytest.mark.parametrize("stage", stages())
def test_a_stage_says_what_it_is_for(stage):
    assert stage.desc and "\n" not in stage.desc.strip()


def ignored_by_git(path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("stage", stages())
def test_metrics_and_plots_belong_to_git_and_the_rest_to_the_cache(stage):
    for path, out in stage.outs.items():
        small = bool(out.metric or out.plot) or path == "plots/report.html"
        assert out.use_cache != small, path
        assert ignored_by_git(path) != small, path
        assert path.startswith(("metrics/", "plots/")) == small, path


def test_models_are_artifacts():
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    named = {artifact["path"] for artifact in content.get("artifacts", {}).values()}
    made = {path for stage in pipeline().values() for path in stage.outs if path.startswith("models/")}
    assert named == made
    assert all(artifact.get("type") == "model" for artifact in content["artifacts"].values())


def test_only_the_pages_read_the_time_it_took():
    readers = {stage.name for stage in pipeline().values() for path in stage.deps - stage.code if "timing" in path}
    # One claim is about that very time.
    assert readers <= {"claims", "figures", "report"}
    for stage in pipeline().values():
        if stage.script.name.startswith("train_"):
            assert f"metrics/timing/{stage.name.replace('@', '/')}.json" in stage.outs


# --- What a change re-runs, by DVC itself ---


class Copy:
    """A throw-away copy of the project whose stages write new outputs at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        made = [path for stage in pipeline().values() for path in stage.outs]
        for name in filter(None, listed.stdout.decode().split("\0")):
            source, target = ROOT / name, folder / name
            if source.is_file() and not any(f"{name}/".startswith(f"{path}/") for path in made):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.run("git", "init", "-q")
        outputs = {
            stage.name: {path: "file" if Path(path).suffix else "folder" for path in stage.outs}
            for stage in pipeline().values()
        }
        (folder / "outputs.json").write_text(json.dumps(outputs))
        (folder / "stand_in.py").write_text(STAND_IN)
        content = yaml.safe_load((folder / "dvc.yaml").read_text())
        for name, stage in content["stages"].items():
            body = stage.get("do", stage)
            variant = "" if "foreach" not in stage else "@${key}" if "${key}" in body["cmd"] else "@${item}"
            body["cmd"] = re.sub(r"stages/\w+\.py.*", f"stand_in.py {name}{variant}", body["cmd"])
        (folder / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, *command: str, **environment: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, *arguments: str, **environment: str) -> set[str]:
        """The stages that `dvc repro` ran."""
        return set(re.findall(r"Running stage '(.+?)'", self.run("dvc", "repro", *arguments, **environment)))

    def stale(self) -> set[str]:
        """The stages that a change concerns directly, by `dvc status`."""
        return {address.rsplit(":", 1)[-1] for address in Repo(str(self.folder)).status()}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Copy:
    """A copy in which everything was run once."""
    copy = Copy(tmp_path_factory.mktemp("project"))
    assert copy.repro() == set(pipeline())
    assert copy.repro() == copy.stale() == set()
    return copy


@pytest.fixture
def unchanged(project) -> Iterator[Copy]:
    """The same, put back after the test."""
    made = [path for stage in pipeline().values() for path in stage.outs]
    paths = [project.folder / name for name in ("params.yaml", "dvc.lock", *made)]
    files = {path / "file" if path.is_dir() else path for path in paths}
    contents = {path: path.read_bytes() for path in files}
    yield project
    for path, content in contents.items():
        path.write_bytes(content)


def leaves(tree: dict, above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def other_value(value: object) -> object:
    """Another value of the same type; the stages stand in, so it need not make sense."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, 1]
    return f"{value} " + "-q" if isinstance(value, str) else (value or 0) + 1


def set_param(folder: Path, key: str) -> None:
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    *sections, last = key.split(".")
    section = tree
    for name in sections:
        section = section[name]
    section[last] = other_value(section[last])
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


VARIANTS = set(PARAMS["ssl"]["variants"])
SSL, EVALUATE_SSL = {f"ssl@{name}" for name in VARIANTS}, {f"evaluate_ssl@{name}" for name in VARIANTS}
METHOD_OF = {name: variant["method"] for name, variant in PARAMS["ssl"]["variants"].items()}
TRAINED = {"classifier", "vae", "ddpm"} | SSL
EVALUATED = {"evaluate_vae", "evaluate_ddpm"} | EVALUATE_SSL
PAGES = {"figures", "report"}
# What a change of a param concerns at once: by the longest prefix. The readers of what these write come after.
CONCERNS = {
    "seed": {"prepare", "claims"} | TRAINED | EVALUATED,
    "runtime.launch": TRAINED,
    "runtime.device": TRAINED | EVALUATED,
    "runtime.precision": TRAINED | EVALUATED,
    "runtime.threads": TRAINED | EVALUATED,
    "runtime.compile": TRAINED,
    "runtime.checkpoint_seconds": set(),
    "data": {"prepare"},
    "classifier": {"classifier"},
    "vae.network": {"vae"},
    "vae.training": {"vae"},
    "vae.likelihood_sigma": {"vae"},
    "vae.evaluation": {"evaluate_vae"},
    "ddpm.network": {"ddpm"},
    "ddpm.process": {"ddpm", "evaluate_ddpm"},
    "ddpm.training": {"ddpm"},
    "ddpm.evaluation": {"evaluate_ddpm"},
    "ssl.shared": SSL | EVALUATE_SSL,
    "ssl.shared.backbone": SSL,
    "ssl.evaluation": EVALUATE_SSL,
    # A recipe concerns the variants of its method.
    **{
        f"ssl.methods.{method}": {f"ssl@{name}" for name in VARIANTS if METHOD_OF[name] == method}
        for method in PARAMS["ssl"]["methods"]
    },
    **{f"ssl.variants.{name}": {f"ssl@{name}", "claims"} for name in VARIANTS},
    "evaluation": {"classifier"} | EVALUATED,
    "evaluation.bootstrap": {"classifier", "claims"} | EVALUATED,
    "evaluation.confidence_level": {"classifier", "claims"} | EVALUATED,
    "claims": {"claims"},
}


def concerned(key: str) -> set[str]:
    parts = key.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found = next((prefix for prefix in prefixes if prefix in CONCERNS), None)
    assert found, f"{key} is new: say in CONCERNS which stages it concerns"
    return CONCERNS[found]


def one_of_each_section() -> list[str]:
    """The first number of each section of params.yaml, and of each part of one that CONCERNS tells apart."""
    chosen = {}
    for key, _ in leaves(PARAMS):
        chosen.setdefault((key.rsplit(".", 1)[0], key if key in CONCERNS else None, frozenset(concerned(key))), key)
    return list(chosen.values())


def test_each_param_concerns_exactly_the_stages_that_use_it(unchanged):
    """The pages print some of the params, so they may be concerned besides."""
    text = (unchanged.folder / "params.yaml").read_text()
    wrong = {}
    for key in one_of_each_section():
        set_param(unchanged.folder, key)
        stale = unchanged.stale()
        (unchanged.folder / "params.yaml").write_text(text)
        if stale - PAGES != concerned(key):
            wrong[key] = stale
    assert wrong == {}


@pytest.mark.parametrize(
    ("key", "runs"),
    [
        # The prepared data of both studies are new here; in a real run those that are as before re-run nothing.
        ("data.generative.noise", {"prepare", "claims"} | TRAINED | EVALUATED),
        ("classifier.training.epochs", {"classifier", "claims", "evaluate_vae", "evaluate_ddpm"}),
        ("vae.training.epochs", {"vae", "evaluate_vae", "claims"}),
        ("vae.evaluation.samples", {"evaluate_vae", "claims"}),
        ("ssl.variants.no_predictor.symmetric", {"ssl@no_predictor", "evaluate_ssl@no_predictor", "claims"}),
        ("ssl.evaluation.pairs", EVALUATE_SSL | {"claims"}),
    ],
)
def test_one_param_re_runs_what_uses_it_and_what_reads_that(unchanged, key, runs):
    set_param(unchanged.folder, key)
    assert unchanged.repro() - PAGES == runs
    assert unchanged.stale() == set()


def test_code_re_runs_the_stages_that_import_it(unchanged):
    path = unchanged.folder / "src/triptych/objectives/vae.py"
    before = path.read_text()
    path.write_text(before + "\n")
    stale = unchanged.stale()
    path.write_text(before)
    assert stale - PAGES == {"vae", "evaluate_vae"} and unchanged.stale() == set()


def test_a_variant_s_params_make_it_and_its_readers_stale(unchanged):
    set_param(unchanged.folder, "ssl.variants.no_predictor.projector_dim")
    assert unchanged.stale() - PAGES == {"ssl@no_predictor", "claims"}
    assert unchanged.repro() - PAGES == {"ssl@no_predictor", "evaluate_ssl@no_predictor", "claims"}


def test_a_new_timing_concerns_the_pages_alone(unchanged):
    assert unchanged.repro("-f", ONLY_TIMING="yes") == set(pipeline())
    # From here everything but the timing comes out as it was.
    assert unchanged.repro("-f", "-s", "vae", ONLY_TIMING="yes") == {"vae"}
    assert {"figures"} <= unchanged.stale() <= PAGES | {"claims"}


def test_byte_code_concerns_nothing(project):
    folder = project.folder / "src/triptych/objectives/__pycache__"
    folder.mkdir()
    (folder / "vae.cpython-311.pyc").write_bytes(b"compiled")
    assert project.stale() == set()
    shutil.rmtree(folder)


# --- What is committed ---


def test_a_fresh_clone_is_up_to_date(tmp_path):
    asked = subprocess.run(["git", "cat-file", "-e", "HEAD:dvc.lock"], cwd=ROOT, capture_output=True)
    if asked.returncode:
        pytest.skip("no dvc.lock is committed yet")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, capture_output=True)
    dvc = [sys.executable, "-m", "dvc"]
    done = subprocess.run([*dvc, "repro", "--allow-missing"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout, "dvc.lock is older than params or code: run dvc repro and commit"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    metrics = subprocess.run([*dvc, "metrics", "show", "--json"], cwd=clone, capture_output=True, text=True)
    assert metrics.returncode == 0 and "error" not in json.loads(metrics.stdout).get("", {})
