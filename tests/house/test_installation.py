"""A fresh machine can install what the project needs; nothing in the project names a host or needs the network."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = {"repro", "full", "collapse", "test", "bench", "bench-peers", "report", "clean", "help"}


def normalised(requirement: str) -> str:
    """Return the normalised distribution name (PEP 503) of a requirement such as `ruamel.yaml>=0.18`."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_lock_names_no_host_and_no_path(lock: str):
    assert not re.search(r"://|@ |--(extra-)?index-url|--find-links|^\s*(\.|/)", lock, re.MULTILINE)


def test_every_requirement_of_the_lock_is_pinned_by_version_and_hash(lock: str):
    code = re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE)
    requirements = re.split(r"\n(?=\S)", code.strip())
    assert len(requirements) > 50
    for requirement in requirements:
        assert re.match(r"[\w.\[\]-]+==\S+( ; [^\\]+)? \\\n", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", requirement), requirement


def test_lock_holds_what_the_project_declares(lock: str, project: dict):
    locked = {normalised(line) for line in lock.splitlines() if re.match(r"\w", line)}
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    assert {normalised(requirement) for requirement in declared} <= locked


def test_the_lock_names_the_command_that_made_it(lock: str):
    assert re.search(r"^#\s+uv pip compile .*--generate-hashes.*requirements\.in", lock, re.MULTILINE)


def test_help_is_the_default_and_lists_every_target():
    printed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, env=plain_environment(), capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^make (\S+)\s+\w", printed, re.MULTILINE)) == TARGETS
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert set(phony.split()) == TARGETS


def test_a_python_that_fails_when_called_is_refused_in_one_line(tmp_path: Path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    shim = tmp_path / "python3"
    shim.write_text("#!/bin/sh\necho 'no version set' >&2\nexit 127\n")
    shim.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", f"PYTHON={shim}", "report"],
        cwd=tmp_path,
        env=plain_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    message, *rest = done.stderr.splitlines()
    assert "Python 3.11 or newer" in message
    assert str(shim) in message
    assert all(line.startswith("make") for line in rest)
    assert not (tmp_path / ".venv").exists()


PYTHON_THAT_LOGS = """#!/bin/sh
case "$*" in
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip install"*) echo "$*" >> pip.log ;;
esac
"""


def test_another_build_of_torch_comes_from_its_own_index_and_is_remembered(tmp_path: Path, lock: str):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    shim = tmp_path / "python3"
    shim.write_text(PYTHON_THAT_LOGS)
    shim.chmod(0o755)

    def installs(*given: str) -> list[str]:
        """Return the arguments of pip in one run of make."""
        (tmp_path / "pip.log").write_text("")
        command = ["make", "--no-print-directory", f"PYTHON={shim}", *given, ".venv/.installed"]
        subprocess.run(command, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=True)
        return (tmp_path / "pip.log").read_text().splitlines()

    index = "https://builds.example/cpu"
    rest, torch, own = installs(f"TORCH_INDEX={index}")
    pins = {line.split("==")[0]: line.split()[0] for line in lock.splitlines() if re.match(r"\w", line)}
    assert "--require-hashes --no-deps -r .venv/without_torch.lock" in rest
    assert torch.endswith(f"--index-url {index} {pins['torch']} {pins['torchvision']}")
    assert own.endswith("-e .")
    left = {line.split("==")[0] for line in (tmp_path / ".venv/without_torch.lock").read_text().splitlines()}
    gone = {name for name in pins if name not in left}
    assert {"torch", "torchvision", "triton", "cuda-toolkit", "nvidia-cublas"} <= gone
    assert all(re.match("torch$|torchvision$|triton$|cuda-|nvidia-", name) for name in gone)

    assert installs() == [], "the build that is there is kept"
    (tmp_path / ".venv/of_the_build_before").touch()
    assert "--require-hashes -r requirements.lock" in installs("TORCH_INDEX=")[0]
    assert not (tmp_path / ".venv/of_the_build_before").exists()
    assert installs() == []


TRIPTYCH = """#!/bin/sh
echo "$*" >> log
case "$*" in
  "profile use full") echo full > params.yaml ;;
  repro*) if [ -e fails ]; then exit 2; fi; if [ -e hangs ]; then sleep 60; fi ;;
esac
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder in which make takes all dependencies for installed, and triptych only logs its arguments."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/.installed").touch()
    (tmp_path / ".venv/bin/triptych").write_text(TRIPTYCH)
    (tmp_path / ".venv/bin/triptych").chmod(0o755)
    (tmp_path / "params.yaml").write_text("default\n")
    return tmp_path


def make(folder: Path, *targets: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        ["make", *targets], cwd=folder, env=plain_environment(), text=True, start_new_session=True, **pipes
    )


def test_make_full_runs_the_profile_archives_it_and_returns_to_params(installed: Path):
    process = make(installed, "full", "ARGS=--jobs 2")
    assert "params.yaml is restored" in process.communicate(timeout=30)[0] and process.returncode == 0
    calls = ["profile use full", "repro --jobs 2", "report", "archive docs/full", "profile clean", "repro"]
    assert (installed / "log").read_text().splitlines() == calls
    assert (installed / "params.yaml").read_text() == "default\n"


def test_make_full_restores_params_after_an_error_and_after_ctrl_c(installed: Path):
    (installed / "fails").touch()
    process = make(installed, "full")
    process.communicate(timeout=30)
    assert process.returncode and (installed / "params.yaml").read_text() == "default\n"
    (installed / "fails").unlink()
    (installed / "hangs").touch()
    process = make(installed, "full")
    until = time.monotonic() + 30
    while (installed / "log").read_text().count("repro") < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (installed / "params.yaml").read_text() == "full\n"
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode and (installed / "params.yaml").read_text() == "default\n"


def test_make_collapse_runs_two_encoders_and_compares_them(installed: Path):
    make(installed, "collapse").communicate(timeout=30)
    calls = ["repro --jobs 1 evaluate_ssl@simsiam evaluate_ssl@no_stop_gradient", "collapse"]
    assert (installed / "log").read_text().splitlines() == calls


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert re.search(r"^make test\b", script.read_text(), re.MULTILINE)


def test_the_page_of_dvc_plots_loads_nothing_from_the_network():
    page = (ROOT / ".dvc/plots/page.html").read_text()
    assert "{plot_divs}" in page
    assert "{scripts}" not in page  # where DVC would put its own, which load from a CDN
    markup = re.sub(r"(<script\b[^>]*>).*?(</script>)", r"\1\2", page, flags=re.DOTALL)
    assert not re.search(r"\b(src|href)\s*=|@import|url\(", markup)
    for script in ("vega", "vega-lite", "vega-embed"):
        assert re.search(rf"<script>/\* {script} \d+\.\d+\.\d+", page)


def test_dvc_uses_that_page_and_contacts_no_server():
    config = (ROOT / ".dvc/config").read_text()
    for setting in ("analytics = false", "check_update = false", "html_template = plots/page.html"):
        assert setting in config


def test_curves_are_coloured_by_variant_and_dashed_by_revision():
    template = json.loads((ROOT / ".dvc/plots/curves.json").read_text())
    assert template["data"]["values"] == "<DVC_METRIC_DATA>"
    group = template["encoding"]["color"]["field"]
    made = next(step for step in template["transform"] if step.get("as") == group)
    assert made["calculate"].startswith("datum.variant ||")
    assert template["layer"][0]["encoding"]["strokeDash"]["field"] == "rev"


def plain_environment() -> dict[str, str]:
    """Return the environment without the variables of an outer `make`, which change what an inner one prints."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
