"""A stage runs the code of its own checkout: DVC runs queued experiments in separate folders at separate commits."""

import os
import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_every_stage_imports_the_code_beside_it(tmp_path):
    """This holds even where another checkout is installed in editable mode."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    errors = tmp_path / "src" / "triptych" / "core" / "errors.py"
    errors.write_text('raise SystemExit("this is the copy")\n')
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in ("prepare", "vae", "ssl"):
        command = stages[name].get("do", stages[name])["cmd"]
        command = command.replace("${runtime.launch}", "python").replace("${key}", "simsiam")
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert "this is the copy" in done.stderr, f"{name}: {done.stderr}"


def test_no_stage_is_called_without_it():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        assert stage.get("do", stage)["cmd"].startswith("PYTHONPATH=src "), name
