"""Settings of all tests: one thread per process, because tests run side by side."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
# Files that start first: the longest, and one that compiles kernels for others, which take them from the cache.
FIRST = (
    *("test_pipeline_smoke", "test_your_own_images", "test_teams", "test_kernels_switch", "test_jobs"),
    *("test_lopsided_set", "test_methods_in_processes", "test_train_ssl"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before anything imports torch. Benchmarks use all threads."""
    if not config.getoption("benchmark_enable", False):
        # OpenMP threads spin at barriers and slow each other down on a shared machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A shell starts background jobs with Ctrl-C ignored, which the processes that tests start would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Processes that tests start run this checkout, whichever one is installed.
    os.environ["PYTHONPATH"] = str(SOURCE)
    # Copies of the project share this checkout's compiled kernels.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(SOURCE / "triptych/nn/fast/__pycache__"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files in FIRST first, so that short ones are left to keep all processes busy to the end."""
    rank = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread of torch: one thread gives the same bits in every process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
