"""Fixtures of the train step benchmarks: this machine's peak, the step itself, and a table at the end."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from triptych.core.schema import Runtime, read
from triptych.machine.device import Machine, machine
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Objective, resident
from triptych.training.params import Training

PARAMS = Path(__file__).parents[2] / "params.yaml"
IMAGES = 2000
STEPS = 5  # per round: the host runs ahead of a GPU by a few
COLUMNS = {"images_per_second": "images/s", "gflops": "GFLOP/s", "share_of_peak": "of peak"}


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """Return the section `runtime` of params.yaml."""
    return read(PARAMS, runtime=Runtime).runtime


@pytest.fixture(scope="session")
def place(runtime: Runtime) -> Iterator[Machine]:
    """Set up this machine as params.yaml says."""
    with machine(runtime) as here:
        yield here


@pytest.fixture(scope="session")
def peak(place: Machine) -> float:
    """Measure this machine's peak FLOP/s in a large matrix product or a large 3x3 convolution."""
    with place.autocast(), torch.inference_mode():
        wide = 8192 if place.device.type == "cuda" else 2048
        square = torch.randn(wide, wide, device=place.device, dtype=place.dtype)
        images = torch.randn(64, 128, 32, 32, device=place.device, dtype=place.dtype)
        kernel = torch.randn(128, 128, 3, 3, device=place.device, dtype=place.dtype)
        images, kernel = (t.contiguous(memory_format=torch.channels_last) for t in (images, kernel))
        product = 2 * wide**3 / fastest(lambda: square @ square, place)
        convolution_flop = 2 * 9 * 128 * 128 * 32 * 32 * len(images)
        convolution = convolution_flop / fastest(lambda: functional.conv2d(images, kernel, padding=1), place)
    return max(product, convolution)


def fastest(work: Callable[[], object], place: Machine, repeats: int = 15) -> float:
    """Return the seconds of the fastest run, after two to warm up."""
    seconds = []
    for _ in range(repeats + 2):
        place.synchronise()
        start = time.perf_counter()
        work()
        place.synchronise()
        seconds.append(time.perf_counter() - start)
    return min(seconds[2:])


@pytest.fixture
def time_steps(
    benchmark, runtime, place, tmp_path, request
) -> Callable[[Objective, Training, tuple[int, int, int]], None]:
    """Time the training loop's step of a method on random images of a shape."""

    def run(objective: Objective, recipe: Training, shape: tuple[int, int, int], classes: int = 10) -> None:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (max(IMAGES, recipe.batch_size), *shape), dtype=np.uint8)
        data = resident(pixels, rng.integers(0, classes, len(pixels)), place.device)
        endless = recipe.model_copy(update={"epochs": 10_000})  # a benchmark must not reach the end of the schedule
        plan = Plan("benchmark", seed=0, checkpoint_seconds=3600.0)
        trainer = Trainer(objective, data, endless, plan, place, Checkpoints("benchmark", "key", root=tmp_path))
        order = torch.arange(len(data), device=place.device)
        trainer.objective.train()
        with FlopCounterMode(display=False) as counter:
            trainer._step(order)
        if runtime.compile:  # after counting: the counter sees no operation of compiled code
            trainer.forward = torch.compile(trainer.forward)

        def steps() -> None:
            for _ in range(STEPS if benchmark.enabled else 1):
                trainer._step(order)
            place.synchronise()

        benchmark.pedantic(steps, rounds=10, warmup_rounds=1)
        assert all(torch.isfinite(parameter).all() for parameter in trainer.objective.parameters())
        if benchmark.enabled:
            # The fastest round, as for the peak: other rounds also measure other load on the machine.
            per_second = STEPS / benchmark.stats["min"]
            flop_per_second = counter.get_total_flops() * per_second
            benchmark.extra_info["images_per_second"] = recipe.batch_size * per_second
            benchmark.extra_info["gflops"] = flop_per_second / 1e9
            benchmark.extra_info["share_of_peak"] = flop_per_second / request.getfixturevalue("peak")
            benchmark.extra_info |= place.describe()

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of `make bench`: one row per benchmark that reports images per second."""
    session = getattr(config, "_benchmarksession", None)
    rows = [made for made in getattr(session, "benchmarks", []) if "images_per_second" in made.extra_info]
    if not rows:
        return
    width = max(len(made.name) for made in rows)
    terminalreporter.section("throughput")
    terminalreporter.write_line(f"{'':<{width}}" + "".join(f"{title:>12}" for title in COLUMNS.values()))
    for made in rows:
        cells = [shown(column, made.extra_info.get(column)) for column in COLUMNS]
        terminalreporter.write_line(f"{made.name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))


def shown(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if column == "share_of_peak" else f"{value:,.0f}"
