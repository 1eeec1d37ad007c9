"""Workers that share memory: results of their collectives, and a failing worker stops the others.

As a script: `python test_workers.py FOLDER WHAT` starts workers that do one of the pieces of work below.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from triptych.core.errors import InputError, one_line_errors
from triptych.machine import processes as forks
from triptych.training import processes as workers
from triptych.training.processes import gathered, in_workers, summed

WORKERS = 3

pytestmark = pytest.mark.skipif(not forks.AVAILABLE, reason="workers are forked, on Linux alone")


def numbers(rank: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(rank))


# Work of the workers --------------------------------------------------------------------------------------------------


def collect(folder: Path, rank: int) -> None:
    """Call every collective, with tensors in one and several chunks, dense or not, of several types."""
    workers.CAPACITY = 64
    found = {}
    for name, how in {"sum": "SUM", "least": "MIN", "greatest": "MAX"}.items():
        found[name] = numbers(rank, 5, 7)
        dist.all_reduce(found[name], op=getattr(dist.ReduceOp, how))
    found["strided"] = numbers(rank, 5, 7).T.contiguous().T
    dist.all_reduce(found["strided"])
    found["double"] = numbers(rank, 5).double()
    dist.all_reduce(found["double"])
    found["of_rank_1"] = numbers(rank, 5, 7)
    dist.broadcast(found["of_rank_1"], src=1)
    every = [torch.empty(5, 7) for _ in range(WORKERS)]
    dist.all_gather(every, numbers(rank, 5, 7))
    found["every"] = torch.stack(every)
    x, y = (numbers(rank, 2, 3).requires_grad_() for _ in range(2))
    found["gathered"], found["summed"] = gathered(x), summed(y)
    # Each has another loss.
    ((rank + 1) * found["gathered"].square().sum() + (rank + 1) * found["summed"].square().sum()).backward()
    found |= {"gradient_gathered": x.grad, "gradient_summed": y.grad}
    dist.barrier()
    save_file({name: t.detach().contiguous() for name, t in found.items()}, folder / f"{rank}.safetensors")


def average(folder: Path, rank: int) -> None:
    """Call all_reduce with an operation that the group lacks."""
    with pytest.raises(ValueError, match="does not support AVG; use SUM, MIN or MAX"):
        dist.all_reduce(numbers(rank, 5), op=dist.ReduceOp.AVG)


def refuse(folder: Path, rank: int) -> None:
    """Raise InputError in one worker while the others wait."""
    if rank == 1:
        raise InputError("a bad batch")
    dist.barrier()


def be_killed(folder: Path, rank: int) -> None:
    """Kill one worker while the others wait."""
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    dist.barrier()  # all have written their process id
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


# Tests ----------------------------------------------------------------------------------------------------------------


def done(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, __file__, str(folder), what], capture_output=True, text=True, timeout=120)


def test_collectives_give_the_same_bits_on_all_workers(tmp_path):
    ended = done(tmp_path, "collect")
    assert ended.returncode == 0, ended.stderr
    results = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(WORKERS)]
    every = torch.stack([numbers(rank, 5, 7) for rank in range(WORKERS)])
    expected = {
        **{"sum": every.sum(0), "least": every.amin(0), "greatest": every.amax(0)},
        **{"strided": every.sum(0), "of_rank_1": every[1], "every": every},
        "double": sum(numbers(rank, 5).double() for rank in range(WORKERS)),
        "gathered": torch.cat([numbers(rank, 2, 3) for rank in range(WORKERS)]),
        "summed": sum(numbers(rank, 2, 3) for rank in range(WORKERS)),
    }
    losses = sum(range(1, WORKERS + 1))
    for rank, found in enumerate(results):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, msg=lambda text, name=name: f"{name}: {text}")
            assert torch.equal(found[name], results[0][name]), name
        # d/dx of the sum over processes of their losses.
        torch.testing.assert_close(found["gradient_gathered"], 2 * losses * numbers(rank, 2, 3))
        torch.testing.assert_close(found["gradient_summed"], 2 * losses * expected["summed"])


def test_an_unsupported_reduction_is_refused(tmp_path):
    ended = done(tmp_path, "average")
    assert ended.returncode == 0, ended.stderr


def test_an_input_error_of_one_worker_stops_all(tmp_path):
    ended = done(tmp_path, "refuse")
    assert (ended.returncode, ended.stderr) == (2, "error: a bad batch\n")


def test_a_killed_worker_ends_the_others(tmp_path):
    ended = done(tmp_path, "be_killed")
    assert ended.returncode == 2 and "SIGKILL" in ended.stderr and ended.stderr.count("\n") == 1
    deadline = time.monotonic() + 10
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    assert len(pids) == WORKERS
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker lives on"


if __name__ == "__main__":
    torch.set_num_threads(1)
    work = {"collect": collect, "average": average, "refuse": refuse, "be_killed": be_killed}[sys.argv[2]]
    with one_line_errors():
        in_workers(lambda rank: work(Path(sys.argv[1]), rank), WORKERS)
