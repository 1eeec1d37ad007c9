"""Memory that a step frees is reused by the next one, without mapping pages again."""

import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")

# Allocates and frees 20 MB in pieces of two sizes per step, and prints how many pages the last ten steps mapped.
STEPS = """
import resource, sys, torch
from contextlib import nullcontext
from triptych.machine.device import machine
from triptych.core.schema import Runtime
runtime = Runtime(
    launch="python", device="cpu", precision="float32", threads=1, compile=False, checkpoint_seconds=60
)
place = machine(runtime, announce=False) if sys.argv[1] == "kept" else nullcontext()
place.__enter__()
def step():
    tensors = [torch.ones(size) for size in (2**18, 2**20) * 4]
    return sum(float(tensor[0]) for tensor in tensors)
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    # glibc's own threshold adapts. A fixed one returns all freed memory to the system.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout)


@glibc
def test_later_steps_map_no_pages() -> None:
    # Unless kept, 5,000 pages of 4 KiB are returned and mapped again in each step.
    assert pages("kept") < 200 < 10_000 < pages("given back")


# Prints by how many MiB the resident set is larger after 256 MiB were made and freed in one piece.
WHOLE_SPLIT = """
import psutil, torch
from triptych.machine import device as memory
assert memory.keep_freed_memory()
torch.ones(1)
process = psutil.Process()
before = process.memory_info().rss
whole = torch.ones(2**26)
assert process.memory_info().rss - before > 200 * 2**20
del whole
print((process.memory_info().rss - before) // 2**20)
"""


@glibc
def test_a_large_tensor_returns_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", WHOLE_SPLIT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30


def test_without_glibc_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.machine import device as memory

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
