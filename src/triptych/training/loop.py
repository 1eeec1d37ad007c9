"""The one training loop.

Every method runs through `train`: resident uint8 data, randomness that is a function of (seed, step), mixed precision,
schedules, weight averages, exact resume, and timing that counts training alone.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from triptych.core.errors import InputError
from triptych.machine.device import Machine
from triptych.machine.randomness import Draw
from triptych.nn.weights import save_weights
from triptych.training.checkpoint import Checkpoints
from triptych.training.objective import Batch, Objective, Resident, epoch_order, to_float
from triptych.training.optimisers import WeightAverage, build_optimiser, rate_factor, set_rates
from triptych.training.params import Training
from triptych.training.processes import BACKEND, GradientSum, globalise

# How often the host looks at the device's numbers: for the bar, and to stop soon after a loss that is not finite.
LOOK_SECONDS = 1.0
# Steps between the moments at which processes agree on a checkpoint: to ask, they wait for each other and the device.
AGREE_STEPS = 16


@dataclass(frozen=True)
class Plan:
    """What to train, apart from the recipe: names, seed, and what happens at the ends of epochs.

    Attributes:
        stage: name of the stage, e.g. `vae`.
        seed: the run's seed.
        checkpoint_seconds: time between checkpoints.
        compile: whether to compile the objective.
        snapshot_epochs: epochs after which the (averaged) weights are kept.
        line: of the terminal on which the bar is drawn, below those of runs side by side.
    """

    stage: str
    seed: int
    checkpoint_seconds: float
    compile: bool = False
    snapshot_epochs: tuple[int, ...] = ()
    line: int = 0


@dataclass
class Progress:
    """Where a run stands: all that a checkpoint holds beside tensors of weights."""

    step: int = 0
    history: list[dict] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    epoch_cpu_seconds: list[float] = field(default_factory=list)
    partial_seconds: float = 0.0
    partial_cpu_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    resumed: int = 0
    started: str = ""


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        network: the network to save: the weight average where there is one.
        history: one row an epoch.
        timing: the stage's timing metric.
        epoch_seconds: training time of each epoch, by the clock.
        epoch_cpu_seconds: seconds of the processor for each epoch, summed over threads and the processes of a run.
    """

    network: nn.Module
    history: list[dict]
    timing: dict
    epoch_seconds: list[float]
    epoch_cpu_seconds: list[float]


# Steps before the recording, launch by launch: in the first, libraries choose their algorithms and take their memory.
WARM_UP = 3

Losses = tuple[Tensor, dict[str, Tensor]]
Passes = Callable[[Batch, Draw], Losses]


class Recorded:
    """Passes that leave gradients behind, and the losses that they return, as a graph.

    What is recorded reads its batch and writes gradients and losses at fixed places in memory, so each call overwrites
    those of the call before. Numbers are those of the passes themselves to the bit: random ones too, whose seed and
    offset a graph reads at each launch.

    Args:
        passes: forward and backward. They must not wait for the device, nor copy from the host.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.calls = 0
        self.graph = torch.cuda.CUDAGraph()
        self.batch: Batch | None = None
        self.losses: Losses | None = None

    def __call__(self, batch: Batch, draw: Draw) -> Losses:
        """What the passes return for a batch of the size of the first, and the same `draw`, restarted, as the first."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._aside(batch, draw)
        if self.batch is None:
            self._record(batch, draw)
        self.batch.images.copy_(batch.images)
        self.batch.labels.copy_(batch.labels)
        self.graph.replay()
        return self.losses

    def _aside(self, batch: Batch, draw: Draw) -> Losses:
        """On a stream that is not the default one, as a recording is: autograd remembers where gradients were made."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.passes(batch, draw)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _record(self, batch: Batch, draw: Draw) -> None:
        self.batch = Batch(batch.images.clone(), batch.labels.clone())
        self.graph.register_generator_state(draw.generator)
        with torch.cuda.graph(self.graph):
            self.losses = self.passes(self.batch, draw)


def recorded(passes: Passes, machine: Machine) -> Passes:
    """The passes as a graph where one process has a GPU to itself, elsewhere the passes."""
    alone = machine.device.type == "cuda" and machine.world == 1
    return Recorded(passes) if alone else passes


class Stopwatch:
    """Seconds since it was made: by the clock, and of the processor, which other work on the machine does not take."""

    def __init__(self) -> None:
        self.clock, self.cpu = time.perf_counter(), time.process_time()

    def elapsed(self) -> tuple[float, float]:
        """By the clock, and of the processor: of this process, summed over its threads."""
        return time.perf_counter() - self.clock, time.process_time() - self.cpu


class Trainer:
    """One run of one method. See `train`."""

    def __init__(
        self,
        objective: Objective,
        data: Resident,
        recipe: Training,
        plan: Plan,
        machine: Machine,
        checkpoints: Checkpoints,
    ) -> None:
        self.recipe, self.plan, self.machine, self.data, self.checkpoints = recipe, plan, machine, data, checkpoints
        if recipe.batch_size % machine.world:
            raise InputError(f"batch size {recipe.batch_size} is not divisible by {machine.world} processes")
        self.steps_per_epoch = len(data) // recipe.batch_size
        if not self.steps_per_epoch:
            raise InputError(f"{plan.stage}: {len(data)} images are fewer than one batch of {recipe.batch_size}")
        self.steps = recipe.epochs * self.steps_per_epoch

        self.objective = objective.to(machine.device, memory_format=torch.channels_last)
        if machine.world > 1:
            globalise(self.objective)
        self.optimiser = build_optimiser(self.objective, recipe.optimiser)
        halflife = recipe.ema_halflife_images
        self.average = WeightAverage(self.objective.network, halflife) if halflife else None
        self.forward: nn.Module = self.objective
        if plan.compile:
            self.forward = torch.compile(self.forward)
        self.gradients: GradientSum | None = None
        if machine.world > 1 and dist.get_backend() == BACKEND:
            self.gradients = GradientSum(self.objective)
        elif machine.world > 1:
            self.forward = DistributedDataParallel(self.forward, broadcast_buffers=False)
        self.passes = recorded(self._passes, machine)
        self.share = recipe.batch_size // machine.world
        alone = machine.world == 1
        self.draw = Draw(
            machine.device,
            (plan.seed, "step"),
            row=0 if alone else machine.rank * self.share,
            rows=0 if alone else recipe.batch_size,
        )
        self.progress = Progress(started=datetime.now(UTC).isoformat(timespec="seconds"))
        self._reset_sums()

    @property
    def network(self) -> nn.Module:
        """What is evaluated and saved: the weight average where there is one."""
        return self.average.network if self.average else self.objective.network

    def run(self) -> Trained:
        """Trains to the end, from the last checkpoint of this very run where there is one."""
        self._resume()
        with self._bar() as bar:
            while self.progress.step < self.steps:
                self._epoch(bar)
        if not self._is_good():
            # No later loss tells of a last step that broke the weights.
            raise self._diverged("the weights are", self.steps - 1)
        timing = self._timing()
        progress = self.progress
        return Trained(
            self.network.eval(), progress.history, timing, progress.epoch_seconds, progress.epoch_cpu_seconds
        )

    # One epoch, and one step -----------------------------------------------------------------------------------------

    def _epoch(self, bar: tqdm) -> None:
        epoch = self.progress.step // self.steps_per_epoch + 1
        order = epoch_order(len(self.data), self.plan.seed, epoch, self.machine.device)
        self.objective.train()
        end = epoch * self.steps_per_epoch
        watch = Stopwatch()
        looked = saved = watch.clock
        while self.progress.step < end:
            self._step(order)
            now = time.perf_counter()
            if now - looked >= LOOK_SECONDS or self.progress.step == end:
                self._look(bar)
                looked = now
            if self._is_time(now - saved) and self.progress.step < end:
                self._add_time(watch)
                self._save()
                watch = Stopwatch()
                saved = watch.clock
        self._add_time(watch)
        self.progress.epoch_seconds.append(self.progress.partial_seconds)
        self.progress.epoch_cpu_seconds.append(self.progress.partial_cpu_seconds)
        self.progress.partial_seconds = self.progress.partial_cpu_seconds = 0.0
        self._end_epoch(epoch)

    def _add_time(self, watch: Stopwatch) -> None:
        self.machine.synchronise()
        clock, cpu = watch.elapsed()
        if self.machine.world > 1:
            every = torch.tensor(cpu, device=self.machine.device)
            dist.all_reduce(every)
            cpu = float(every)
        self.progress.partial_seconds += clock
        self.progress.partial_cpu_seconds += cpu

    def _step(self, order: Tensor) -> None:
        step, size = self.progress.step, self.recipe.batch_size
        start = (step % self.steps_per_epoch) * size + self.machine.rank * self.share
        rows = order[start : start + self.share]
        batch = Batch(to_float(self.data.images[rows]), self.data.labels[rows])
        self.draw.restart(self.plan.seed, "step", step)
        set_rates(self.optimiser, rate_factor(self.recipe.schedule, step, self.steps))
        loss, terms = self.passes(batch, self.draw)
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.recipe.gradient_clip)
        self.optimiser.step()
        self.progress.step += 1
        self.objective.after_step(self.progress.step / self.steps)
        if self.average:
            self.average.update(self.objective.network, self.progress.step * size, size)
        self._add_to_sums({"loss": loss, **terms}, step)

    def _passes(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """Forward and backward: the loss and its terms, and a gradient for each parameter in the place of the last."""
        self.optimiser.zero_grad(set_to_none=True)
        with self.machine.autocast():
            loss, terms = self.forward(batch, draw)
        if self.gradients:
            (loss / self.machine.world).backward()
            self.gradients.share()
        else:
            loss.backward()
        return loss.detach(), terms

    # Sums of the losses, on the device -------------------------------------------------------------------------------

    def _reset_sums(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        # The first step whose loss was not finite; kept on the device, so that no step waits for it.
        self.bad_step = torch.full((), self.steps, dtype=torch.int64, device=self.machine.device)

    def _add_to_sums(self, terms: dict[str, Tensor], step: int) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value.double() if name in self.sums else value.double()
        self.count += 1
        bad = ~torch.isfinite(terms["loss"])
        self.bad_step = torch.where(bad, self.bad_step.clamp(max=step), self.bad_step)

    def _means(self) -> dict[str, float]:
        values = torch.stack(list(self.sums.values())) / self.count
        if self.machine.world > 1:
            dist.all_reduce(values)
            values /= self.machine.world
        return dict(zip(self.sums, values.tolist(), strict=True))

    def _look(self, bar: tqdm) -> None:
        bad = int(self.bad_step)
        if bad < self.steps:
            raise self._diverged("the loss is", bad)
        bar.set_postfix_str(f"loss {float(self.sums['loss']) / self.count:.4g}", refresh=False)
        bar.update(self.progress.step * self.recipe.batch_size - bar.n)

    def _diverged(self, what: str, step: int) -> InputError:
        rate = self.recipe.optimiser.learning_rate * rate_factor(self.recipe.schedule, step, self.steps)
        return InputError(
            f"{self.plan.stage}: {what} not finite at step {step} of {self.steps} (learning rate {rate:.3g}); "
            f"try a lower learning_rate, a longer warmup_steps or a gradient_clip; the last good checkpoint stays"
        )

    def _is_time(self, seconds: float) -> bool:
        """Whether a checkpoint is due, so long after the last one: for all, as the leading process says."""
        if self.machine.world == 1:
            return seconds >= self.plan.checkpoint_seconds
        if self.progress.step % AGREE_STEPS:
            return False
        flag = torch.tensor(float(seconds >= self.plan.checkpoint_seconds), device=self.machine.device)
        dist.broadcast(flag, src=0)
        return bool(flag)

    # Ends of epochs, checkpoints, results ----------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        row = {"epoch": epoch, "images": self.progress.step * self.recipe.batch_size, **self._means()}
        row["learning_rate"] = self.optimiser.param_groups[0]["lr"]
        self._reset_sums()
        self.progress.history.append(row)
        if epoch in self.plan.snapshot_epochs and self.machine.leads:
            save_weights(self.snapshot(epoch), self.network)
        # The last one, too: what follows, another seed or the writing of outputs, may be killed as well.
        self._save()

    def snapshot(self, epoch: int) -> Path:
        """Where the weights after an epoch are kept until the stage has ended."""
        return self.checkpoints.folder / "snapshots" / f"epoch_{epoch:04d}.safetensors"

    def _state(self) -> dict:
        return {
            "objective": dict(self.objective.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "average": dict(self.average.network.state_dict()) if self.average else {},
            "sums": self.sums,
            "count": self.count,
            "progress": vars(self.progress),
        }

    def _save(self) -> None:
        clock = time.perf_counter()
        if self._is_good():
            self.checkpoints.save(self._state())
        self.progress.checkpoint_seconds += time.perf_counter() - clock

    def _is_good(self) -> bool:
        """Whether every loss so far and every weight now is finite, on all processes."""
        norms = torch.stack(torch._foreach_norm(list(self.objective.parameters())))
        good = torch.isfinite(norms).all() & (self.bad_step == self.steps)
        flag = good.double()
        if self.machine.world > 1:
            dist.all_reduce(flag, op=dist.ReduceOp.MIN)
        return bool(flag)

    def _resume(self) -> None:
        state = self.checkpoints.load(self.machine.device)
        if state is None:
            return
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            # Files hold contiguous tensors; fused kernels want the layout of the parameter.
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)
        if self.average:
            self.average.network.load_state_dict(state["average"])
        self.sums, self.count = state["sums"], state["count"]
        self.progress = Progress(**state["progress"])
        if self.progress.step == self.steps:
            return  # a run that had ended is taken up, not resumed
        self.progress.resumed += 1
        if self.machine.leads:
            print(f"{self.plan.stage}: resuming at step {self.progress.step} of {self.steps}", file=sys.stderr)

    def _bar(self) -> tqdm:
        total = self.steps * self.recipe.batch_size
        started_at = self.progress.step * self.recipe.batch_size
        quiet = not self.machine.leads or started_at == total
        # A terminal is refreshed often; a log gets a line now and then.
        every = 0.5 if sys.stderr.isatty() else 20.0
        return tqdm(
            total=total,
            initial=started_at,
            desc=self.plan.stage,
            unit="img",
            unit_scale=True,
            disable=quiet,
            mininterval=every,
            dynamic_ncols=True,
            position=self.plan.line,
        )

    def _timing(self) -> dict:
        seconds = self.progress.epoch_seconds
        images = self.steps_per_epoch * self.recipe.batch_size
        return {
            "seconds_per_epoch": sum(seconds) / len(seconds),
            "seconds_total": sum(seconds),
            "cpu_seconds_total": sum(self.progress.epoch_cpu_seconds),
            "images_per_second": images * len(seconds) / sum(seconds),
            "checkpoint_seconds": self.progress.checkpoint_seconds,
            "parameters": sum(p.numel() for p in self.objective.parameters() if p.requires_grad),
            "resumed": self.progress.resumed,
            "started": self.progress.started,
            **self.machine.describe(),
        }


def train(
    objective: Objective,
    data: Resident,
    recipe: Training,
    plan: Plan,
    machine: Machine,
    checkpoints: Checkpoints,
) -> Trained:
    """Trains a method on a resident dataset, from its last checkpoint where there is one.

    Args:
        objective: the method; its initial weights must be a function of the seed.
        data: the whole training split on the device.
        recipe: epochs, batch size, optimiser, schedule, averaging.
        plan: stage name, seed, and what happens at the ends of epochs.
        machine: this process's place.
        checkpoints: where this run's checkpoints lie.

    Raises:
        InputError: fewer images than a batch, a batch that the processes cannot share, or a loss or weights that
            are not finite.
    """
    return Trainer(objective, data, recipe, plan, machine, checkpoints).run()
