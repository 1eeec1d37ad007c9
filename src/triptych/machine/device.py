"""Where a stage runs: device, precision, threads, and its place among the processes of a launch."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from threadpoolctl import threadpool_limits

from triptych.core.errors import InputError
from triptych.core.schema import Runtime
from triptych.machine import processes as forks

# Rows of a batch below which a worker spends too much of a step on what does not depend on them.
LEAST_ROWS = 8


@dataclass(frozen=True)
class Machine:
    """One process's place.

    Attributes:
        device: where tensors live.
        dtype: the precision of matrix work: float32, or bfloat16 under autocast.
        threads: CPU threads of this process.
        rank, world: this process among all that share a batch.
        workers: how many processes a run is to be shared by, of which this one only waits for the others.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int
    rank: int = 0
    world: int = 1
    workers: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """The precision of the forward pass."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def synchronise(self) -> None:
        """Waits until the device has finished; only at the borders of a measurement."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def at_once(self, works: int) -> int:
        """How many of so many works go side by side: as many as there are threads on a CPU, one elsewhere."""
        alone = self.world > 1 or self.device.type != "cpu" or not forks.AVAILABLE
        return 1 if alone else max(1, min(works, self.threads))

    def workers_of(self, batch_size: int, at_once: int) -> int:
        """How many workers of one thread share each batch of a run, of which so many go side by side on a CPU."""
        if self.world > 1 or self.device.type != "cpu" or not forks.AVAILABLE:
            return 1
        shares = range(1, self.threads // at_once + 1)
        return max((n for n in shares if not batch_size % n and batch_size // n >= LEAST_ROWS), default=1)

    def shared(self, works: int) -> "Machine":
        """This place with its threads divided among so many works at once; sets this process's own."""
        threads = max(1, self.threads // works)
        torch.set_num_threads(threads)
        threadpool_limits(threads)  # of the libraries below numpy and scipy
        return replace(self, threads=threads)

    def announce(self, **more: object) -> None:
        """Tells in one line on stderr what there is, and more, where this process leads."""
        if self.leads:
            about = self.describe() | more
            print(", ".join(f"{key} {value}" for key, value in about.items()), file=sys.stderr, flush=True)

    def describe(self) -> dict:
        """What a timing depends on."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        precision = str(self.dtype).removeprefix("torch.")
        return {
            "device": name,
            "precision": precision,
            "threads": self.threads,
            "processes": self.world * self.workers,
            "torch": torch.__version__,
        }


def choose_device(wish: str, local_rank: int = 0) -> torch.device:
    """The device for `runtime.device`; `auto` takes the GPU where there is one.

    Raises:
        InputError: the wished device is not on this machine.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(name for name in has if has[name]) if wish == "auto" else wish
    if not has[kind]:
        available = ", ".join(name for name in has if has[name])
        raise InputError(f"params.yaml: 'runtime.device' is '{kind}', which this machine lacks: here are {available}")
    return torch.device(kind, local_rank) if kind == "cuda" else torch.device(kind)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by instructions of its own; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return False


@contextmanager
def machine(runtime: Runtime, announce: bool = True) -> Iterator[Machine]:
    """Sets the process up as the params and the launcher say, and tears it down.

    Args:
        runtime: what the params say.
        announce: whether `Machine.announce` is called at once.

    Raises:
        InputError: the wished device is not on this machine.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(runtime.device, int(os.environ.get("LOCAL_RANK", 0)))
    automatic = "bfloat16" if computes_in_bfloat16(device) else "float32"
    wish = automatic if runtime.precision == "auto" else runtime.precision
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    elif world > 1 and device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    if device.type == "cpu":
        keep_freed_memory()
    # The same params and seed must give the same bits; cuBLAS needs its workspace fixed for that.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The mode "warn" sets what use_deterministic_algorithms does, without importing torch's compiler for 3 s.
    torch.set_deterministic_debug_mode("warn")
    # Writing NaN over fresh memory, as this mode does, finds bugs and costs every operation a pass over its output.
    torch.utils.deterministic.fill_uninitialized_memory = False
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    place = Machine(device, getattr(torch, wish), torch.get_num_threads(), rank, world)
    if announce:
        place.announce()
    try:
        yield place
    finally:
        if world > 1:
            dist.destroy_process_group()


# Parameters of glibc's mallopt, and the largest of a request that it serves from what was freed: all that glibc's older
# versions take, and above any tensor of a step. What a measurement makes of a whole split is larger, and goes back to
# the system.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to give freed memory to the next tensor, not back to the system; whether there was a glibc to tell.

    Each step of a training frees what it made and asks for as much again. What the system takes back it returns as
    pages that must be mapped and cleared, one by one: 12,000 for a step of the DDPM, a twelfth of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
