"""The graph of dvc.yaml: each stage depends on what it uses, so a change re-runs what it affects and nothing else.

Most tests read dvc.yaml as DVC resolves it for the profile full. Where DVC itself must run, a temporary copy replaces
each stage's script by a stand-in that writes new outputs at once.
"""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from checkouts import check_out
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from shell import run

from triptych.cli.profiles import merged
from triptych.page import tables
from triptych.report.reader import value_at

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PARAMS = merged("full", ROOT)  # has all variants, those of default among them
VARIANTS = PARAMS["ssl"]["variants"]
DEFAULT_VARIANTS = ("simsiam", "no_stop_gradient", "no_stop_gradient_low_noise", "no_predictor", "projector_4096")


@dataclass(frozen=True)
class Stage:
    """A stage as DVC resolved it. `params` are dotted keys of params.yaml, `outs` are DVC's output objects by path."""

    name: str
    script: Path
    argument: str
    desc: str | None
    deps: frozenset[str]
    params: frozenset[str]
    outs: dict

    @property
    def code(self) -> set[str]:
        """Source dependencies: files, and folders with everything below them."""
        return {path for path in self.deps if path.startswith(("src/", "stages/"))}


@cache
def resolved(profile: str) -> list:
    """Return DVC's own stages for the params of a profile."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy(ROOT / "dvc.yaml", root)
        (root / "params.yaml").write_text(yaml.safe_dump(merged(profile, ROOT), sort_keys=False))
        (root / ".dvc").mkdir()
        (root / ".dvc/config").write_text("[core]\nno_scm = true\n")
        return Repo(folder).index.stages


@cache
def pipeline(profile: str = "full") -> dict[str, Stage]:
    """Return the stages of dvc.yaml by name."""
    found = {}
    for stage in resolved(profile):
        params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        script, argument = re.search(r"(stages/\w+\.py) ?(\w*)", str(stage.cmd)).groups()
        found[stage.name] = Stage(
            name=stage.name,
            script=ROOT / script,
            argument=argument,
            desc=stage.desc,
            deps=frozenset(dep.def_path for dep in stage.deps if dep not in params),
            params=frozenset(key for dep in params for key in dep.params),
            outs={out.def_path: out for out in stage.outs},
        )
    return found


# --- What each stage lists ---


def local_modules(path: Path) -> Iterator[Path]:
    """Yield the modules of triptych that a file imports, anywhere in it. Package files hold a docstring only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = SOURCE / f"{name.replace('.', '/')}.py"
            if name.startswith("triptych.") and module.exists():
                yield module


def named_modules(stage: Stage) -> list[Path]:
    """Return the modules that a script imports by name: a study's sampling, a variant's method."""
    if stage.script.name == "sample.py":
        return [SOURCE / f"triptych/{stage.argument}/sample.py"]
    if stage.argument in VARIANTS:
        return [SOURCE / f"triptych/ssl/methods/{VARIANTS[stage.argument]['method']}.py"]
    return []


@cache
def closure(script: Path, *more: Path) -> frozenset[Path]:
    """Return the files, every module of triptych that they import, directly or not, and the data files these load."""
    found, waiting = set(), [script, *more]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += local_modules(path)
    texts = [path.read_text(encoding="utf-8") for path in found]
    loaded = {
        path
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and any(path.name in text for text in texts)
    }
    return frozenset(found | loaded)


def code_of(stage: Stage) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in closure(stage.script, *named_modules(stage))}


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def test_each_stage_depends_on_the_code_that_it_imports_and_on_no_folder_that_it_does_not():
    wrong = {}
    groups: dict[Path, set[str]] = {}
    for stage in pipeline().values():
        groups.setdefault(stage.script, set()).update(code_of(stage))
    for stage in pipeline().values():
        used = code_of(stage)
        missing = {path for path in used if not any(covers(dep, path) for dep in stage.code)}
        # The stages of one script share their list of dependencies. Python runs package files without an import.
        modules = {dep for dep in stage.code if not dep.endswith("/__init__.py")}
        idle = {dep for dep in modules if not any(covers(dep, path) for path in groups[stage.script])}
        if missing or idle:
            wrong[stage.name] = {"imported, but in no dep": missing, "a dep, but not imported": idle}
    assert wrong == {}


def test_no_stage_lists_a_dependency_twice():
    """Apart from the roots of the data, which both datasets may share."""
    roots = {PARAMS["data"][name]["root"] for name in ("generative", "ssl")}
    for stage in resolved("full"):
        paths = [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)]
        paths = [path for path in paths if path not in roots]
        assert len(set(paths)) == len(paths), stage.name


def test_each_dependency_is_source_or_made_by_a_stage():
    made = {path: stage.name for stage in pipeline().values() for path in stage.outs}
    wrong = [
        (stage.name, path)
        for stage in pipeline().values()
        for path in stage.deps - stage.code - {"params.yaml"}
        if not path.startswith("docs/")  # the verdicts of committed runs, next to which the page shows its own
        if not any(covers(path, out) or covers(out, path) for out in made)
    ]
    assert wrong == []


DATA = re.compile(r"(data|models|snapshots|samples|evaluations|plots|metrics)(/[\w./]*)?")


def test_each_stage_depends_on_the_data_that_its_script_names_or_writes_it():
    """A path that the script completes with its argument is compared up to the argument."""
    wrong = []
    for stage in pipeline().values():
        texts = [node.value for node in ast.walk(ast.parse(stage.script.read_text())) if isinstance(node, ast.Constant)]
        named = {text.rstrip("/") for text in texts if isinstance(text, str) and DATA.fullmatch(text)}
        known = stage.deps | stage.outs.keys()
        wrong += [
            (stage.name, text) for text in named if not any(covers(path, text) or covers(text, path) for path in known)
        ]
    assert wrong == []


def test_each_stage_lists_the_sections_of_params_that_its_script_reads():
    wrong = {}
    for stage in pipeline().values():
        calls = [node for node in ast.walk(ast.parse(stage.script.read_text())) if isinstance(node, ast.Call)]
        sections = {word.arg for call in calls if ast.unparse(call.func) == "read" for word in call.keywords}
        listed = {key.split(".")[0] for key in stage.params}
        if not sections <= listed:
            wrong[stage.name] = {"read": sections, "listed": listed}
    assert wrong == {}


def test_every_stage_says_what_it_is_for_and_every_model_is_an_artifact():
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert [stage.name for stage in pipeline().values() if not stage.desc or "\n" in stage.desc.strip()] == []
    artifacts = content["artifacts"].values()
    assert all(artifact["type"] == "model" and artifact["desc"] for artifact in artifacts)
    made = {path for stage in pipeline().values() for path in stage.outs if path.startswith("models/")}
    assert [path for path in made if not any(covers(artifact["path"], path) for artifact in artifacts)] == []


# Outputs in git that are neither `metrics:` nor `plots:` disable DVC's run cache for their stage. These stages take
# seconds or have no cache to lose.
NO_RUN_CACHE = {"metrics/data.json", "metrics/claims.json", "plots/report.html"}


def test_numbers_and_tables_belong_to_git_and_the_rest_to_the_cache():
    outs = {path: out for stage in pipeline().values() for path, out in stage.outs.items()}
    asked = subprocess.run(
        ["git", "check-ignore", "--stdin"], input="\n".join(outs), cwd=ROOT, capture_output=True, text=True
    )
    ignored = set(asked.stdout.split())
    wrong = []
    for path, out in outs.items():
        small = path.startswith(("metrics/", "plots/"))
        declared = bool(out.metric or out.plot) or path in NO_RUN_CACHE
        if not small == declared == (not out.use_cache) == (path not in ignored):
            wrong.append(path)
    assert wrong == []


def test_dvc_metrics_show_prints_only_the_headline_numbers():
    assert [path for stage in pipeline().values() for path, out in stage.outs.items() if out.metric] == [
        "metrics/headline"
    ]
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 350


# --- What a change re-runs, read from the graph ---

SSL = {f"ssl@{name}" for name in VARIANTS}
EVALUATE_SSL = {f"evaluate_ssl@{name}" for name in VARIANTS} | {"ssl_baselines"}
TRAINED = {"classifier", "vae", "ddpm"} | SSL
SAMPLED = {"sample@vae", "sample@ddpm"}
EVALUATED = {"evaluate_classifier", "evaluate_vae", "evaluate_ddpm"} | EVALUATE_SSL
PAGES = {"claims", "figures", "report"}

# The stages that may run after a change of a param or a file, including readers of their outputs, if every stage that
# runs writes new outputs. No other stage runs.
MAY_RUN = {
    # Training
    "vae.training.epochs": {"vae", "sample@vae", "evaluate_vae"} | PAGES,
    "ddpm.process.parameterisation": {"ddpm", "sample@ddpm", "evaluate_ddpm"} | PAGES,
    "classifier.mixup": {"classifier"} | EVALUATED - EVALUATE_SSL | PAGES,
    "ssl.shared.backbone.width": SSL | EVALUATE_SSL | PAGES,
    "ssl.shared.views.rotation": SSL | EVALUATE_SSL - {"ssl_baselines"} | PAGES,
    "ssl.variants.no_predictor.predictor": {"ssl@no_predictor", "evaluate_ssl@no_predictor"} | PAGES,
    "runtime.checkpoint_seconds": {"report"},
    "runtime.compile": TRAINED | SAMPLED | EVALUATED - {"ssl_baselines"} | PAGES,
    "src/triptych/vae/objective.py": {"vae", "sample@vae", "evaluate_vae"} | PAGES,
    "src/triptych/ssl/methods/simsiam.py": {
        f"{stage}@{name}"
        for stage in ("ssl", "evaluate_ssl")
        for name, variant in VARIANTS.items()
        if variant["method"] == "simsiam"
    }
    | PAGES,
    # Sampling: nothing is trained
    "sampling.ddpm.sampler.steps": {"sample@ddpm", "evaluate_ddpm"} | PAGES,
    "sampling.ddpm.guidance.weight": {"sample@ddpm", "evaluate_ddpm"} | PAGES,
    "sampling.vae.fitted_prior.components": {"sample@vae", "evaluate_vae"} | PAGES,
    "sampling.vae.interpolation_steps": {"sample@vae", "evaluate_vae"} | PAGES,
    "src/triptych/ddpm/samplers.py": {"sample@ddpm", "evaluate_ddpm"} | PAGES,
    # Measures: nothing is trained, and nothing sampled
    "evaluation.ssl.knn.neighbours": EVALUATE_SSL | PAGES,
    "evaluation.ssl.collapse.embedding_std": EVALUATE_SSL - {"ssl_baselines"} | PAGES,
    "evaluation.bootstrap": EVALUATED - {"evaluate_classifier"} | PAGES,
    "evaluation.recognition_threshold": EVALUATED - EVALUATE_SSL | PAGES,
    "src/triptych/measures/distributions.py": {"evaluate_vae", "evaluate_ddpm"} | PAGES,
    "src/triptych/measures/neighbours.py": EVALUATE_SSL | PAGES,
    "src/triptych/measures/intervals.py": EVALUATED | PAGES,
    # Verdicts, figures and the page: nothing is measured
    "claims.vae.sharpness": {"claims", "report"},
    "src/triptych/vae/words/figures.py": PAGES,
    "src/triptych/report/drawing.py": PAGES,
    "src/triptych/report/formatting.py": PAGES,
    "src/triptych/page/page.html.j2": {"report"},
    "metrics/timing/vae.json": PAGES,  # one claim is about this time
    "plots/vae/timing.csv": PAGES,
    "metrics/clock/vae.json": {"report"},
}


def touched(change: str) -> set[str]:
    """Return the stages that depend directly on a param, a file or an output."""
    if Path(change).suffix in (".py", ".j2", ".json", ".csv"):
        return {stage.name for stage in pipeline().values() if any(covers(dep, change) for dep in stage.deps)}
    params = {stage.name for stage in pipeline().values() if any(covers_key(key, change) for key in stage.params)}
    return params | {stage.name for stage in pipeline().values() if "params.yaml" in stage.deps}


def covers_key(key: str, change: str) -> bool:
    return change == key or change.startswith(f"{key}.")


def with_readers(names: set[str]) -> set[str]:
    """Return the stages and, transitively, all stages that read their outputs."""
    found, waiting = set(), set(names)
    while waiting:
        found |= waiting
        outs = {path for name in waiting for path in pipeline()[name].outs}
        reading = {
            stage.name
            for stage in pipeline().values()
            if any(covers(dep, out) or covers(out, dep) for dep in stage.deps for out in outs)
        }
        waiting = reading - found
    return found


def test_a_change_may_run_what_it_concerns_and_nothing_else():
    missing = [change for change in MAY_RUN if Path(change).suffix in (".py", ".j2") and not (ROOT / change).exists()]
    assert missing == [], "files of MAY_RUN that are no longer there"
    found = {change: with_readers(touched(change)) for change in MAY_RUN}
    assert found == MAY_RUN


def test_default_and_full_share_every_stage_that_trains_samples_or_measures():
    """So `make full` takes these stages from the cache of `make repro`, and the other way round."""
    trees = {name: merged(name, ROOT) for name in ("default", "full")}
    for name, stage in pipeline("default").items():
        of_full = pipeline("full")[name]
        assert (stage.params, stage.deps, stage.outs.keys()) == (of_full.params, of_full.deps, of_full.outs.keys())
        if name not in PAGES:
            for key in stage.params:
                assert value_at(trees["default"], key) == value_at(trees["full"], key), f"{name}: {key}"
    assert set(pipeline("full")) - set(pipeline("default")) == {
        f"{kind}@{name}" for kind in ("ssl", "evaluate_ssl") for name in VARIANTS if name not in DEFAULT_VARIANTS
    }


def leaves(tree: dict, above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def test_every_param_concerns_some_stage():
    """`launch` and `checkpoint_seconds` change how a stage runs, not its results."""
    idle = [key for key in leaves(PARAMS) if not touched(key) - {"report"}]
    assert set(idle) == {"runtime.launch", "runtime.checkpoint_seconds"}


def test_each_training_stage_writes_its_time_apart():
    for name in TRAINED:
        assert f"metrics/timing/{name.replace('@', '/')}.json" in pipeline()[name].outs
    readers = {stage.name for stage in pipeline().values() for path in stage.deps - stage.code if "timing" in path}
    assert readers <= PAGES


def test_each_stage_writes_its_clock_and_the_page_shows_it():
    """All stages except `report`, which reads the clocks of the others."""
    rows = [clock for clocks in tables.clock_files(PARAMS).values() for clock in clocks]
    assert sorted(rows) == sorted(name.replace("@", "/") for name in pipeline() if name != "report")
    for name in rows:
        stage = pipeline()[re.sub("^(ssl|evaluate_ssl|sample)/", r"\1@", name)]
        script = stage.script.read_text(encoding="utf-8").replace("{sys.argv[1]}", stage.argument)
        assert re.search(f"""run_script\\(f?"{name}", """, script), name
        assert f"metrics/clock/{name}.json" in stage.outs
    assert {stage.name for stage in pipeline().values() if any("clock" in path for path in stage.deps)} == {"report"}


# --- What a change re-runs, by DVC itself ---

STAND_IN = """
import json, os, pathlib, sys, uuid
for out, kind in json.loads(pathlib.Path("outputs.json").read_text())[sys.argv[1]].items():
    path = pathlib.Path(out)
    if kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        path = path / "file.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"number": uuid.uuid4().hex}))
"""


def repro(folder: Path) -> set[str]:
    """Run `dvc repro` and return the stages that ran."""
    return set(re.findall(r"Running stage '(.+?)'", run(folder, "dvc", "repro")))


# Variants whose stages DVC runs here: enough to separate affected from unaffected ones.
FEW = {name: VARIANTS[name] for name in ("simsiam", "no_predictor", "projector_4096")}


def few(stages: set[str]) -> set[str]:
    """Return the stages without those of other variants."""
    return {name for name in stages if "ssl@" not in name or name.split("@")[1] in FEW}


def edit_params(folder: Path, keys: str, value: object) -> None:
    """Set a dotted key in the params.yaml of a folder."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    *sections, last = keys.split(".")
    place = params
    for section in sections:
        place = place[section]
    place[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    """Return a copy of the project whose stages write new outputs at once, with few variants."""
    folder = tmp_path_factory.mktemp("project")
    check_out(folder)
    edit_params(folder, "ssl.variants", FEW)
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
    return folder


def test_dvc_runs_every_stage_once_and_then_what_a_change_concerns(stand_ins):
    assert repro(stand_ins) == few(set(pipeline()))
    byte_code = stand_ins / "src/triptych/vae/__pycache__"
    byte_code.mkdir(exist_ok=True)
    (byte_code / "objective.cpython-311.pyc").write_bytes(b"compiled")
    assert Repo(str(stand_ins)).status() == {}, "byte code, or a second look, makes a stage stale"

    edit_params(stand_ins, "ssl.variants.no_predictor.predictor", "fixed_random")
    code = stand_ins / "src/triptych/ddpm/samplers.py"
    code.write_text(code.read_text() + "\n")
    changes = ("ssl.variants.no_predictor.predictor", "src/triptych/ddpm/samplers.py")
    assert repro(stand_ins) == few(set.union(*(MAY_RUN[change] for change in changes)))


def test_dvc_sees_a_user_s_images_come_go_and_change(stand_ins, tmp_path):
    """Both a folder inside the project and a file at an absolute path outside it."""
    photos, arrays = stand_ins / "own", tmp_path / "own.npz"
    photos.mkdir()
    (photos / "one.png").write_bytes(b"1")
    arrays.write_bytes(b"arrays")
    edit_params(stand_ins, "data.generative", {"name": "folder", "root": "own", "size": 32})
    edit_params(stand_ins, "data.ssl", {"name": "npz", "root": str(arrays)})

    def changed() -> dict:
        return json.loads(run(stand_ins, "dvc", "status", "--json", "prepare"))

    run(stand_ins, "dvc", "repro", "--single-item", "prepare")
    assert changed() == {}
    (photos / "two.png").write_bytes(b"2")
    assert changed() == {"prepare": [{"changed deps": {"own": "modified"}}]}
    (photos / "two.png").unlink()
    (photos / "one.png").write_bytes(b"another")
    arrays.write_bytes(b"other arrays")
    assert changed() == {"prepare": [{"changed deps": {"own": "modified", str(arrays): "modified"}}]}


# --- What is committed ---


def test_a_fresh_clone_is_up_to_date(tmp_path):
    asked = subprocess.run(["git", "cat-file", "-e", "HEAD:dvc.lock"], cwd=ROOT, capture_output=True)
    if asked.returncode:
        pytest.skip("no dvc.lock is committed yet")
    clone = tmp_path / "clone"
    run(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
    # Check first: with a lock older than the code, this would train everything.
    stale = run(clone, "dvc", "repro", "--allow-missing", "--dry")
    assert "Running stage" not in stale, "dvc.lock is older than params or code: run dvc repro and commit"
    assert "up to date" in run(clone, "dvc", "repro", "--allow-missing")
    assert run(clone, "git", "status", "--porcelain") == ""
    shown = run(clone, "dvc", "metrics", "show")
    assert "Error" not in shown and max(map(len, shown.splitlines())) <= 200
