"""Rows of several processes come together in order, and their gradients find their way back."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from scripts import SERVER
from torch import Tensor

from triptych.training.processes import gathered

PROCESSES, ROWS = 2, 3


def whole() -> Tensor:
    """The rows of the global batch."""
    return torch.randn((PROCESSES * ROWS, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def loss_of(z: Tensor) -> Tensor:
    """Each row meets each other, with a weight that depends on their places."""
    weights = torch.arange(len(z) ** 2, dtype=z.dtype).view(len(z), len(z))
    return (weights * (z @ z.T).tanh()).sum()


def in_a_process(rank: int, folder: Path) -> None:
    """Gather in one process, and save the result and the gradient of its own rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    mine = whole()[rank * ROWS : (rank + 1) * ROWS].requires_grad_()
    together = gathered(mine)
    loss_of(together).backward()
    torch.save({"together": together.detach(), "gradient": mine.grad}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_each(tmp_path_factory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("gather")
    processes = [SERVER.Process(target=in_a_process, args=(rank, folder)) for rank in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def test_each_process_gets_the_rows_of_all_in_the_order_of_the_global_batch(of_each):
    assert all(torch.equal(one["together"], whole()) for one in of_each)


def test_averaged_over_the_processes_gradients_are_those_of_the_whole_batch(of_each):
    """Each gradient holds every process's loss; the loop's average over processes divides by their number."""
    z = whole().requires_grad_()
    loss_of(z).backward()
    found = torch.cat([one["gradient"] for one in of_each]) / PROCESSES
    torch.testing.assert_close(found, z.grad)


def test_one_process_gets_its_own_tensor_back():
    z = whole()
    assert gathered(z) is z
