"""What all tests share: one thread a process, for the tests run side by side and are rarely alone on their machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


def pytest_configure(config: pytest.Config) -> None:
    """Before anything imports torch, here or in a process of a test. Benchmarks take the machine as it is."""
    if not config.getoption("benchmark_enable", False):
        # OpenMP's threads wait busily at barriers, and slow each other many times over on a shared machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The processes that tests start run this checkout, whichever is installed.
    os.environ["PYTHONPATH"] = str(SOURCE)
    # Copies of the project share what this checkout has compiled.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(SOURCE / "triptych/nn/fast/__pycache__"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest goes first: side by side, the others are done by the time that it is."""
    items.sort(key=lambda item: item.path.stem != "test_pipeline_smoke")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A single thread of torch: the results of one thread are the same bits in every process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
