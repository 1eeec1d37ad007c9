"""A training run survives a kill at any moment, and never resumes another run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from scripts import run_script
from test_training_loop import digest
from tiny_run import STEPS, STEPS_PER_EPOCH, TinyObjective, recipe, run

from triptych.core.errors import InputError
from triptych.training.checkpoint import Checkpoints, flatten, only_writer, run_key, unflatten
from triptych.training.loop import Trained

HERE = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("one_thread")


def finish(root: Path, **changes: object) -> Trained:
    """Continue the run under `root` with the settings of `run_and_be_killed`."""
    return run(root, **{"snapshot_epochs": (1, 3)} | changes)


def run_and_kill(root: Path, kill: str) -> None:
    done = run_script(HERE / "tiny_run.py", json.dumps({"root": str(root), "kill": kill}), folder=HERE)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def whole(tmp_path) -> Trained:
    """Train without interruption."""
    return finish(tmp_path / "whole")


def same(one: Trained, other: Trained) -> bool:
    return digest(one.network) == digest(other.network) and one.history == other.history


def snapshots(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "tiny" / "key" / "snapshots").iterdir()}


@pytest.mark.parametrize(
    ("kill", "resumes_at"),
    [
        (f"step {STEPS_PER_EPOCH + 2}", STEPS_PER_EPOCH + 1),  # within an epoch
        (f"step {2 * STEPS_PER_EPOCH + 1}", 2 * STEPS_PER_EPOCH),  # right after an epoch was written
        ("snapshot 3", 3 * STEPS_PER_EPOCH - 1),  # between an epoch's last step and its checkpoint
        ("writing 6", 5),  # while a checkpoint is written
        ("renaming 6", 5),  # between the two renames of a checkpoint
    ],
)
def test_a_killed_run_ends_bit_identical(tmp_path, capsys, whole, kill, resumes_at):
    run_and_kill(tmp_path / "killed", kill)
    capsys.readouterr()
    resumed = finish(tmp_path / "killed")
    assert f"resuming at step {resumes_at} of {STEPS}" in capsys.readouterr().err
    assert same(resumed, whole) and resumed.timing["resumed"] == 1
    assert snapshots(tmp_path / "killed") == snapshots(tmp_path / "whole")
    assert len(resumed.epochs) == len(whole.epochs)


class StoppedError(Exception):
    """A substitute for a kill, without a separate process."""


def interrupt(root: Path, at: int = 7, **changes: object) -> None:
    def on_step(step: int) -> None:
        if step == at:
            raise StoppedError

    with pytest.raises(StoppedError):
        finish(root, checkpoint_seconds=tiny_run.EVERY_STEP, objective=lambda: TinyObjective(on_step), **changes)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello" * 1000}[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "text"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, whole, how):
    interrupt(tmp_path / "cut", at=7)
    damage(tmp_path / "cut/tiny/key/latest.safetensors", how)
    resumed = finish(tmp_path / "cut")
    printed = capsys.readouterr().err
    assert "latest.safetensors is damaged" in printed and f"resuming at step 5 of {STEPS}" in printed
    assert same(resumed, whole)


def test_a_run_restarts_if_all_checkpoints_are_damaged(tmp_path, capsys, whole):
    interrupt(tmp_path / "cut")
    for name in ("latest", "previous"):
        damage(tmp_path / f"cut/tiny/key/{name}.safetensors", "truncated")
    capsys.readouterr()
    afresh = finish(tmp_path / "cut")
    assert "resuming" not in capsys.readouterr().err and afresh.timing["resumed"] == 0
    assert same(afresh, whole)


def test_a_run_may_be_interrupted_repeatedly(tmp_path, whole):
    for at in (2, 5, 6, 9):
        interrupt(tmp_path / "cut", at=at)
    assert same(finish(tmp_path / "cut"), whole)


@pytest.mark.parametrize(
    "changes", [{"optimiser": tiny_run.SGD}, {"optimiser": tiny_run.MUON}, {"ema_halflife_images": 0.0}]
)
def test_other_recipes_resume_exactly(tmp_path, changes):
    interrupt(tmp_path / "cut", training=recipe(**changes))
    resumed = finish(tmp_path / "cut", training=recipe(**changes))
    assert same(resumed, finish(tmp_path / "whole", training=recipe(**changes)))


def test_another_run_is_never_resumed(tmp_path, capsys, whole):
    interrupt(tmp_path / "cut", key="other params")
    capsys.readouterr()
    assert same(finish(tmp_path / "cut"), whole)
    assert "resuming" not in capsys.readouterr().err


def test_the_key_of_a_run_follows_each_part_of_its_identity():
    identity = {"seed": 0, "recipe": {"epochs": 3}, "data": "abc", "code": "def"}
    changes = [{"seed": 1}, {"recipe": {"epochs": 4}}, {"data": "abd"}, {"code": "deg"}]
    keys = {run_key(**identity | change) for change in [{}, *changes]}
    assert len(keys) == 5 and run_key(**identity) == run_key(**dict(reversed(identity.items())))


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    with only_writer("ssl/simsiam", root=tmp_path):
        with (
            pytest.raises(InputError, match="stage ssl/simsiam is running in another process"),
            only_writer("ssl/simsiam", root=tmp_path),
        ):
            pass
        # Another stage, or another process of the same launch, is allowed.
        with only_writer("ssl/vicreg", root=tmp_path), only_writer("ssl/simsiam", leads=False, root=tmp_path):
            pass
    with only_writer("ssl/simsiam", root=tmp_path):
        pass


def test_another_process_holds_the_lock_until_it_dies(tmp_path):
    code = f"""
from pathlib import Path
from triptych.training.checkpoint import only_writer
with only_writer("vae", root=Path({str(tmp_path)!r})):
    print("held", flush=True)
    input()
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="is running in another process"), only_writer("vae", root=tmp_path):
            pass
        other.kill()
    with only_writer("vae", root=tmp_path):
        pass


def test_any_state_survives_the_file(tmp_path):
    state = {
        "weights": {"a.b": torch.arange(6.0).view(2, 3), "empty": torch.zeros(0)},
        "whole": torch.tensor(3, dtype=torch.int64),
        "by number": {0: {"step": torch.tensor(1.0)}, 10: {"step": torch.tensor(2.0)}},
        "list": [1, 0.1, None, True, "text", [torch.ones(1)]],
        "nothing": {},
    }
    tree, tensors = flatten(state)
    assert json.loads(json.dumps(tree)) == tree
    checkpoints = Checkpoints("tiny", "key", root=tmp_path)
    checkpoints.save(state)
    for back in (unflatten(tree, tensors), checkpoints.load(torch.device("cpu"))):
        assert str(back) == str(state)


def test_weights_that_two_names_share_survive_the_file(tmp_path):
    shared = torch.arange(4.0)
    checkpoints = Checkpoints("tiny", "key", root=tmp_path)
    checkpoints.save({"network": {"w": shared}, "encoder": {"w": shared}, "part": shared[:2]})
    state = checkpoints.load(torch.device("cpu"))
    assert torch.equal(state["network"]["w"], shared) and torch.equal(state["encoder"]["w"], shared)
    assert torch.equal(state["part"], shared[:2])
