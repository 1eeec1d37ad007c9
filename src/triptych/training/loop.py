"""The training loop of every method. Resume is exact; timing counts only training."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from triptych.core.errors import InputError
from triptych.machine.device import Machine
from triptych.machine.randomness import Draw
from triptych.nn.weights import save_weights, snapshot_file
from triptych.training.checkpoint import Checkpoints
from triptych.training.objective import Batch, Objective, Resident, epoch_order, to_float
from triptych.training.optimisers import WeightAverage, build_optimiser, rate_factor, set_rates
from triptych.training.params import Training
from triptych.training.processes import BACKEND, GradientSum, globalise

# Interval at which the host reads the loss from the device: for the bar, and to stop soon after one that is not finite.
LOOK_SECONDS = 1.0
# Interval at which processes agree on a checkpoint: to ask, they wait for each other and the device.
AGREE_STEPS = 16
# Steps before a step is recorded: in the first, libraries choose their algorithms and allocate memory.
WARM_UP = 3


@dataclass(frozen=True)
class Plan:
    """Settings of one run apart from the recipe."""

    stage: str  # for messages
    seed: int
    checkpoint_seconds: float  # between checkpoints
    compile: bool = False
    snapshot_epochs: tuple[int, ...] = ()  # epochs after which the (averaged) weights are kept
    line: int = 0  # of the terminal, for the progress bar


@dataclass
class Progress:
    """Position of a run: the part of a checkpoint that is not tensors."""

    step: int = 0
    history: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    partial_seconds: float = 0.0
    partial_cpu_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    resumed: int = 0
    started: str = ""


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    network: nn.Module  # the weight average if there is one, else the network itself, in eval mode
    history: list[dict]  # mean losses and learning rate per epoch
    epochs: list[dict]  # wall-clock seconds per epoch, and CPU seconds summed over threads and processes
    timing: dict  # the timing metric of the stage


Losses = tuple[Tensor, dict[str, Tensor]]
Passes = Callable[[Batch, Draw], Losses]


class Recorded:
    """Forward and backward passes as a CUDA graph, recorded once and replayed from then on.

    Launching the thousands of kernels of a small network one by one costs the host more time than the GPU needs. The
    results are bit-identical to those of `passes`, which must not wait for the device, nor copy from the host. Each
    call overwrites the gradients and losses of the previous one.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.calls = 0
        self.graph = torch.cuda.CUDAGraph()
        self.batch: Batch | None = None
        self.losses: Losses

    def __call__(self, batch: Batch, draw: Draw) -> Losses:
        """Run the passes. Batches must have the size of the first; `draw` must be the same object, restarted."""
        self.calls += 1
        if self.calls <= WARM_UP:
            # On a side stream, as capture does: autograd ties gradients to the stream that made them.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                losses = self.passes(batch, draw)
            torch.cuda.current_stream().wait_stream(stream)
            return losses
        if self.batch is None:
            self.batch = Batch(batch.images.clone(), batch.labels.clone())
            self.graph.register_generator_state(draw.generator)
            with torch.cuda.graph(self.graph):
                self.losses = self.passes(self.batch, draw)
        self.batch.images.copy_(batch.images)
        self.batch.labels.copy_(batch.labels)
        self.graph.replay()
        return self.losses


def recorded(passes: Passes, machine: Machine) -> Passes:
    """Return the passes as a graph if one process has a GPU to itself, else unchanged."""
    return Recorded(passes) if machine.device.type == "cuda" and machine.world == 1 else passes


class Trainer:
    """One run of one method.

    The initial weights of `objective` must be a function of the seed. Fewer images than a batch, a batch that the
    processes cannot share, and a loss or weights that are not finite raise InputError.
    """

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

        self.objective = objective.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if machine.world > 1:
            globalise(self.objective)
        self.optimiser = build_optimiser(self.objective, recipe.optimiser)
        halflife = recipe.ema_halflife_images
        self.average = WeightAverage(self.objective.network, halflife) if halflife else None
        self.forward: Callable[..., Losses] = torch.compile(self.objective) if plan.compile else self.objective
        self.gradients: GradientSum | None = None
        if machine.world > 1 and dist.get_backend() == BACKEND:
            self.gradients = GradientSum(self.objective)
        elif machine.world > 1:
            self.forward = DistributedDataParallel(self.forward, broadcast_buffers=False)
        self.passes = recorded(self._passes, machine)
        self.share = recipe.batch_size // machine.world
        rows = {"row": machine.rank * self.share, "rows": recipe.batch_size} if machine.world > 1 else {}
        self.draw = Draw(machine.device, (plan.seed, "step"), **rows)
        self.progress = Progress(started=datetime.now(UTC).isoformat(timespec="seconds"))
        self._reset_sums()

    @property
    def network(self) -> nn.Module:
        """The network that is evaluated and saved: the weight average if there is one."""
        return self.average.network if self.average else self.objective.network

    def run(self) -> Trained:
        """Train to the end, from the last checkpoint of this run if there is one."""
        self._resume()
        with self._bar() as bar:
            while self.progress.step < self.steps:
                self._epoch(bar)
        if not self._is_good():
            # No later loss shows that the last step broke the weights.
            raise self._diverged("the weights are", self.steps - 1)
        return Trained(self.network.eval(), self.progress.history, self.progress.epochs, self._timing())

    def _epoch(self, bar: tqdm) -> None:
        progress = self.progress
        epoch = progress.step // self.steps_per_epoch + 1
        end = epoch * self.steps_per_epoch
        order = epoch_order(len(self.data), self.plan.seed, epoch, self.machine.device)
        self.objective.train()
        begun = time.perf_counter(), time.process_time()
        looked = saved = begun[0]
        while progress.step < end:
            self._step(order)
            now = time.perf_counter()
            if now - looked >= LOOK_SECONDS or progress.step == end:
                self._look(bar)
                looked = now
            if self._is_time(now - saved) and progress.step < end:
                self._add_time(*begun)
                self._save()
                begun = time.perf_counter(), time.process_time()
                saved = begun[0]
        self._add_time(*begun)
        seconds = {"seconds": progress.partial_seconds, "cpu_seconds": progress.partial_cpu_seconds}
        progress.epochs.append({"epoch": epoch, **seconds})
        progress.partial_seconds = progress.partial_cpu_seconds = 0.0
        self._end_epoch(epoch)

    def _add_time(self, clock: float, cpu: float) -> None:
        self.machine.synchronise()
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        if self.machine.world > 1:
            total = torch.tensor(cpu, device=self.machine.device)
            dist.all_reduce(total)
            cpu = float(total)
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

    def _passes(self, batch: Batch, draw: Draw) -> Losses:
        self.optimiser.zero_grad(set_to_none=True)
        with self.machine.autocast():
            loss, terms = self.forward(batch, draw)
        if self.gradients:
            (loss / self.machine.world).backward()
            self.gradients.share()
        else:
            loss.backward()
        return loss.detach(), terms

    def _reset_sums(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        # First step whose loss was not finite; kept on the device, so that no step waits for it.
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

    def _diverged(self, subject: str, step: int) -> InputError:
        rate = self.recipe.optimiser.learning_rate * rate_factor(self.recipe.schedule, step, self.steps)
        return InputError(
            f"{self.plan.stage}: {subject} not finite at step {step} of {self.steps} (learning rate {rate:.3g}); "
            f"try a lower learning_rate, a longer warmup_steps or a gradient_clip; the last good checkpoint stays"
        )

    def _is_time(self, seconds: float) -> bool:
        if self.machine.world == 1:
            return seconds >= self.plan.checkpoint_seconds
        if self.progress.step % AGREE_STEPS:
            return False
        # The leading process decides for all.
        flag = torch.tensor(float(seconds >= self.plan.checkpoint_seconds), device=self.machine.device)
        dist.broadcast(flag, src=0)
        return bool(flag)

    def _end_epoch(self, epoch: int) -> None:
        row = {"epoch": epoch, "images": self.progress.step * self.recipe.batch_size, **self._means()}
        row["learning_rate"] = self.optimiser.param_groups[0]["lr"]
        self._reset_sums()
        self.progress.history.append(row)
        if epoch in self.plan.snapshot_epochs and self.machine.leads:
            save_weights(snapshot_file(self.checkpoints.folder / "snapshots", epoch), self.network)
        self._save()

    def _save(self) -> None:
        clock = time.perf_counter()
        if self._is_good():
            self.checkpoints.save(
                {
                    "objective": dict(self.objective.state_dict()),
                    "optimiser": self.optimiser.state_dict(),
                    "average": dict(self.average.network.state_dict()) if self.average else {},
                    "sums": self.sums,
                    "count": self.count,
                    "progress": vars(self.progress),
                }
            )
        self.progress.checkpoint_seconds += time.perf_counter() - clock

    def _is_good(self) -> bool:
        # Every loss so far and every weight is finite, on all processes.
        norms = torch.stack(torch._foreach_norm(list(self.objective.parameters())))
        good = (torch.isfinite(norms).all() & (self.bad_step == self.steps)).double()
        if self.machine.world > 1:
            dist.all_reduce(good, op=dist.ReduceOp.MIN)
        return bool(good)

    def _resume(self) -> None:
        state = self.checkpoints.load(self.machine.device)
        if state is None:
            return
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            # Files hold contiguous tensors. Fused kernels need the memory layout of the parameter.
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)
        if self.average:
            self.average.network.load_state_dict(state["average"])
        self.sums, self.count = state["sums"], state["count"]
        self.progress = Progress(**state["progress"])
        self.progress.resumed += 1
        if self.machine.leads:
            print(f"{self.plan.stage}: resuming at step {self.progress.step} of {self.steps}", file=sys.stderr)

    def _bar(self) -> tqdm:
        return tqdm(
            total=self.steps * self.recipe.batch_size,
            initial=self.progress.step * self.recipe.batch_size,
            desc=self.plan.stage,
            unit="img",
            unit_scale=True,
            disable=not self.machine.leads,
            mininterval=0.5 if sys.stderr.isatty() else 20.0,  # a log gets a line now and then
            dynamic_ncols=True,
            position=self.plan.line,
        )

    def _timing(self) -> dict:
        seconds, cpu_seconds = (sum(row[key] for row in self.progress.epochs) for key in ("seconds", "cpu_seconds"))
        return {
            "seconds_per_epoch": seconds / self.recipe.epochs,
            "seconds_total": seconds,
            "cpu_seconds_total": cpu_seconds,
            "images_per_second": self.steps * self.recipe.batch_size / seconds,
            "checkpoint_seconds": self.progress.checkpoint_seconds,
            "parameters": sum(p.numel() for p in self.objective.parameters() if p.requires_grad),
            "resumed": self.progress.resumed,
            "started": self.progress.started,
            **self.machine.describe(),
        }
