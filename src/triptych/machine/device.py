"""Set up the device, precision, threads and data-parallel training of the current process."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from threadpoolctl import threadpool_limits

from triptych.core.errors import InputError
from triptych.core.schema import Runtime
from triptych.machine import processes

# Value of `runtime.kernels`, set by `machine` and read by nn/fast.
kernels = "fast"


@dataclass(frozen=True)
class Machine:
    """Device, precision and threads of the current process, and the rank of the process in data-parallel training."""

    device: torch.device
    dtype: torch.dtype  # of matrix products: float32, or bfloat16 under autocast
    threads: int  # number of CPU threads to use, each in a process of its own, or of one process on a GPU
    rank: int = 0
    world: int = 1  # number of processes that share a batch
    workers: int = 1  # number of worker processes to fork; if more than one, this process only waits for them

    @property
    def leads(self) -> bool:
        """True for the process of rank 0. Only this process writes output files."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """Return a context manager for forward passes. Matrix products in it are computed in `self.dtype`."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def synchronise(self) -> None:
        """Wait until the device has finished all operations. Call this method only to measure time."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @property
    def forks(self) -> bool:
        """True if tasks run in forked processes. This requires a CPU device, Linux, and `self.world` = 1."""
        return self.world == 1 and self.device.type == "cpu" and processes.AVAILABLE

    def at_once(self, tasks: int) -> int:
        """Return the number of tasks, at most `tasks`, to run in parallel. The number is 1 if `self.forks` is False."""
        return max(1, min(tasks, self.threads // self.workers)) if self.forks else 1

    def announce(self, **more: object) -> None:
        """Print the properties in `describe()` and `more` as one line on stderr, if this process has rank 0."""
        if self.leads:
            about = self.describe() | more
            print(", ".join(f"{key} {value}" for key, value in about.items()), file=sys.stderr, flush=True)

    def describe(self) -> dict:
        """Return properties that affect run times, such as the device, the precision and the number of threads."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type,
            "precision": str(self.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "processes": self.world * self.workers,
            "stages_at_once": int(os.environ.get("TRIPTYCH_JOBS", 1)),  # limit set by `triptych repro`
            "torch": torch.__version__,
        }


def choose_device(wish: str, local_rank: int = 0) -> torch.device:
    """Return the device `wish`; "auto" is a CUDA GPU if available, else the CPU. Raises InputError if it is missing."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = ("cuda" if has["cuda"] else "cpu") if wish == "auto" else wish
    if not has[name]:
        available = ", ".join(name for name in has if has[name])
        raise InputError(f"params.yaml: 'runtime.device' is '{name}', which is not available; use one of {available}")
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return True if the device has bfloat16 instructions. Emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


@contextmanager
def machine(runtime: Runtime, announce: bool = True, one_thread: bool = True) -> Iterator[Machine]:
    """Set up the device, precision and threads of this process, and yield a `Machine` that describes them.

    The settings come from `runtime` and torchrun. They are printed if `announce` is True. On a CPU, the process
    computes with one thread unless `one_thread` is False, so that results do not depend on the number of cores.
    """
    global kernels
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(runtime.device, int(os.environ.get("LOCAL_RANK", 0)))
    automatic = "bfloat16" if computes_in_bfloat16(device) else "float32"
    precision = automatic if runtime.precision == "auto" else runtime.precision
    threads = runtime.threads or torch.get_num_threads()
    if device.type == "cpu" and one_thread:
        torch.set_num_threads(1)
        threadpool_limits(1)  # for the libraries under numpy and scipy
    elif runtime.threads:
        torch.set_num_threads(threads)
    kernels_before, kernels = kernels, runtime.kernels
    if device.type == "cpu":
        keep_freed_memory()
    # cuBLAS is deterministic only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Has the effect of use_deterministic_algorithms, which would import torch's compiler for 3 s.
    torch.set_deterministic_debug_mode("warn")
    # Filling new memory with NaN finds bugs, but costs every operation a pass over its output.
    torch.utils.deterministic.fill_uninitialized_memory = False
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    here = Machine(device, getattr(torch, precision), threads, rank, world)
    if announce:
        here.announce()
    try:
        yield here
    finally:
        kernels = kernels_before
        if world > 1:
            dist.destroy_process_group()


# Parameters of glibc's mallopt. Reusing memory saves a twelfth of the DDPM's training time. 32 MiB is the largest
# M_MMAP_THRESHOLD of old versions, and more than a tensor of a training step. Larger allocations return to the system.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST, NEVER = 32 << 20, 2**31 - 1


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for reuse. Return True on success, and False if the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return bool(mallopt and mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, NEVER))
