"""Training loop of all methods. A resumed run and an uninterrupted run give bit-identical results."""

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
from triptych.training.optimisers import WeightAverage, build_optimisers, rate_factor, set_rates
from triptych.training.params import Training
from triptych.training.processes import BACKEND, GradientSum, globalise

# Interval at which the host reads the loss from the device, for the progress bar and to stop if it is not finite.
READ_SECONDS = 1.0
# Interval at which processes agree whether to save a checkpoint; agreeing synchronises them and the device.
AGREE_STEPS = 16
# Steps before a CUDA graph is recorded: in them, libraries choose their algorithms and allocate memory.
WARM_UP = 3


@dataclass(frozen=True)
class Plan:
    """Settings of a training run that are not in the `training` section of params.yaml."""

    title: str  # in messages and the progress bar
    seed: int
    checkpoint_seconds: float  # interval between checkpoints
    compile: bool = False
    snapshot_epochs: tuple[int, ...] = ()  # epochs after which the (averaged) weights are saved
    line: int = 0  # line of the terminal in which the progress bar is drawn


@dataclass
class Progress:
    """State of a training run: the current step, the results so far, and the run times."""

    step: int = 0
    history: list[dict] = field(default_factory=list)
    epochs: list[dict] = field(default_factory=list)
    epoch_seconds: float = 0.0  # of the current epoch so far
    epoch_cpu_seconds: float = 0.0
    checkpoint_seconds: float = 0.0  # spent on saving checkpoints
    resumed: int = 0  # number of times that the run was resumed
    started: str = ""


@dataclass(frozen=True)
class Trained:
    """Results of a finished training run."""

    network: nn.Module  # in eval mode; the weight average if there is one
    history: list[dict]  # mean losses and learning rate per epoch
    epochs: list[dict]  # wall-clock seconds per epoch, and CPU seconds summed over threads and processes
    timing: dict  # content of metrics/timing/<stage>.json


Losses = tuple[Tensor, dict[str, Tensor]]
ForwardBackward = Callable[[Batch, Draw], Losses]


class Recorded:
    """Forward and backward pass as a CUDA graph that is recorded once and then replayed.

    A replay launches all kernels at once. In a small network, launching kernels one by one takes longer than running
    them. Results are bit-identical to those of `forward_backward`, which must not synchronise with the device or copy
    data from the host. Each call overwrites the gradients and losses of the previous call.
    """

    def __init__(self, forward_backward: ForwardBackward) -> None:
        self.forward_backward = forward_backward
        self.calls = 0
        self.graph = torch.cuda.CUDAGraph()
        self.batch: Batch | None = None
        self.losses: Losses

    def __call__(self, batch: Batch, draw: Draw) -> Losses:
        """Return the losses. All calls must have the same batch size and the same `draw` object, reseeded each time."""
        self.calls += 1
        if self.calls <= WARM_UP:
            # Use a side stream, as capture does: autograd ties gradients to the stream that computed them.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                losses = self.forward_backward(batch, draw)
            torch.cuda.current_stream().wait_stream(stream)
            return losses
        if self.batch is None:
            self.batch = Batch(batch.images.clone(), batch.labels.clone())
            self.graph.register_generator_state(draw.generator)
            with torch.cuda.graph(self.graph):
                self.losses = self.forward_backward(self.batch, draw)
        self.batch.images.copy_(batch.images)
        self.batch.labels.copy_(batch.labels)
        self.graph.replay()
        return self.losses


def recorded(forward_backward: ForwardBackward, machine: Machine) -> ForwardBackward:
    """Return `forward_backward` as a CUDA graph if a single process trains on a GPU, otherwise unchanged."""
    on_one_gpu = machine.device.type == "cuda" and machine.world == 1
    return Recorded(forward_backward) if on_one_gpu else forward_backward


class Trainer:
    """Training run of an objective with one seed.

    The initial weights of `objective` must depend only on the seed. Raises InputError if the batch size exceeds the
    number of images or is not divisible by the number of processes, or if the loss or a weight becomes infinite or NaN.
    """

    def __init__(
        self,
        objective: Objective,
        data: Resident,
        training: Training,
        plan: Plan,
        machine: Machine,
        checkpoints: Checkpoints,
    ) -> None:
        self.training, self.plan, self.machine, self.data, self.checkpoints = training, plan, machine, data, checkpoints
        if training.batch_size % machine.world:
            raise InputError(f"batch size {training.batch_size} must be divisible by the process count {machine.world}")
        self.steps_per_epoch = len(data) // training.batch_size
        if not self.steps_per_epoch:
            raise InputError(f"{plan.title}: {len(data)} images are fewer than one batch of {training.batch_size}")
        self.steps = training.epochs * self.steps_per_epoch

        self.objective = objective.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if machine.world > 1:
            globalise(self.objective)
        self.optimisers = build_optimisers(self.objective, training.optimiser)
        halflife = training.ema_halflife_images
        self.average = WeightAverage(self.objective.network, halflife) if halflife else None
        self.model: Callable[..., Losses] = torch.compile(self.objective) if plan.compile else self.objective
        self.gradients: GradientSum | None = None
        if machine.world > 1 and dist.get_backend() == BACKEND:
            self.gradients = GradientSum(self.objective)
        elif machine.world > 1:
            self.model = DistributedDataParallel(self.model, broadcast_buffers=False)
        self.forward_backward = recorded(self._forward_backward, machine)
        self.share = training.batch_size // machine.world
        rows = {"row": machine.rank * self.share, "rows": training.batch_size} if machine.world > 1 else {}
        self.draw = Draw(machine.device, (plan.seed, "step"), **rows)
        self.progress = Progress(started=datetime.now(UTC).isoformat(timespec="seconds"))
        self._reset_sums()

    @property
    def network(self) -> nn.Module:
        """The network to evaluate and save, with averaged weights if the run averages weights."""
        return self.average.network if self.average else self.objective.network

    def run(self) -> Trained:
        """Train from the last checkpoint, if there is one, to the last epoch, and return the results."""
        self._resume()
        with self._bar() as bar:
            while self.progress.step < self.steps:
                self._epoch(bar)
        if not self._all_finite():
            # No later loss would reveal weights that the last step made infinite.
            raise self._diverged("the weights are", self.steps - 1)
        return Trained(self.network.eval(), self.progress.history, self.progress.epochs, self._timing())

    def _epoch(self, bar: tqdm) -> None:
        progress = self.progress
        epoch = progress.step // self.steps_per_epoch + 1
        end = epoch * self.steps_per_epoch
        order = epoch_order(len(self.data), self.plan.seed, epoch, self.machine.device)
        self.objective.train()
        begun = time.perf_counter(), time.process_time()
        read = saved = begun[0]
        while progress.step < end:
            self._step(order)
            now = time.perf_counter()
            if now - read >= READ_SECONDS or progress.step == end:
                self._read_loss(bar)
                read = now
            if self._is_checkpoint_due(now - saved) and progress.step < end:
                self._add_time(*begun)
                self._save()
                begun = time.perf_counter(), time.process_time()
                saved = begun[0]
        self._add_time(*begun)
        seconds = {"seconds": progress.epoch_seconds, "cpu_seconds": progress.epoch_cpu_seconds}
        progress.epochs.append({"epoch": epoch, **seconds})
        progress.epoch_seconds = progress.epoch_cpu_seconds = 0.0
        self._end_epoch(epoch)

    def _add_time(self, clock: float, cpu: float) -> None:
        self.machine.synchronise()
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        if self.machine.world > 1:
            total = torch.tensor(cpu, device=self.machine.device)
            dist.all_reduce(total)
            cpu = float(total)
        self.progress.epoch_seconds += clock
        self.progress.epoch_cpu_seconds += cpu

    def _step(self, order: Tensor) -> None:
        step, size = self.progress.step, self.training.batch_size
        start = (step % self.steps_per_epoch) * size + self.machine.rank * self.share
        rows = order[start : start + self.share]
        batch = Batch(to_float(self.data.images[rows]), self.data.labels[rows])
        self.draw.restart(self.plan.seed, "step", step)
        set_rates(self.optimisers, rate_factor(self.training.schedule, step, self.steps))
        loss, terms = self.forward_backward(batch, self.draw)
        if self.training.gradient_clip:
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.training.gradient_clip)
        for optimiser in self.optimisers:
            optimiser.step()
        self.progress.step += 1
        self.objective.after_step(self.progress.step / self.steps)
        if self.average:
            self.average.update(self.objective.network, self.progress.step * size, size)
        self._add_to_sums({"loss": loss, **terms}, step)

    def _forward_backward(self, batch: Batch, draw: Draw) -> Losses:
        self.objective.zero_grad(set_to_none=True)
        with self.machine.autocast():
            loss, terms = self.model(batch, draw)
        if self.gradients:
            (loss / self.machine.world).backward()
            self.gradients.share()
        else:
            loss.backward()
        return loss.detach(), terms

    def _reset_sums(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        # First step whose loss was not finite. It stays on the device, so that no step waits for it.
        self.bad_step = torch.full((), self.steps, dtype=torch.int64, device=self.machine.device)

    def _add_to_sums(self, terms: dict[str, Tensor], step: int) -> None:
        for name, value in terms.items():
            wide = value.to(torch.float32 if value.device.type == "mps" else torch.float64)  # MPS has no float64
            self.sums[name] = self.sums[name] + wide if name in self.sums else wide
        self.count += 1
        bad = ~torch.isfinite(terms["loss"])
        self.bad_step = torch.where(bad, self.bad_step.clamp(max=step), self.bad_step)

    def _read_loss(self, bar: tqdm) -> None:
        bad = int(self.bad_step)
        if bad < self.steps:
            raise self._diverged("the loss is", bad)
        bar.set_postfix_str(f"loss {float(self.sums['loss']) / self.count:.4g}", refresh=False)
        bar.update(self.progress.step * self.training.batch_size - bar.n)

    def _diverged(self, subject: str, step: int) -> InputError:
        rate = self.training.optimiser.learning_rate * rate_factor(self.training.schedule, step, self.steps)
        return InputError(
            f"{self.plan.title}: {subject} not finite at step {step} of {self.steps} (learning rate {rate:.3g}); "
            f"use a lower learning_rate, more warmup_steps or a gradient_clip; the last checkpoint is kept"
        )

    def _is_checkpoint_due(self, seconds: float) -> bool:
        if self.machine.world == 1:
            return seconds >= self.plan.checkpoint_seconds
        if self.progress.step % AGREE_STEPS:
            return False
        # The leading process decides for all processes.
        flag = torch.tensor(float(seconds >= self.plan.checkpoint_seconds), device=self.machine.device)
        dist.broadcast(flag, src=0)
        return bool(flag)

    def _end_epoch(self, epoch: int) -> None:
        means = torch.stack(list(self.sums.values())) / self.count
        if self.machine.world > 1:
            dist.all_reduce(means)
            means /= self.machine.world
        row = {"epoch": epoch, "images": self.progress.step * self.training.batch_size}
        row |= dict(zip(self.sums, means.tolist(), strict=True))
        self.progress.history.append(row | {"learning_rate": self.optimisers[0].param_groups[0]["lr"]})
        self._reset_sums()
        if epoch in self.plan.snapshot_epochs and self.machine.leads:
            save_weights(snapshot_file(self.checkpoints.folder / "snapshots", epoch), self.network)
        self._save()

    def _save(self) -> None:
        clock = time.perf_counter()
        if self._all_finite():
            self.checkpoints.save(
                {
                    "objective": dict(self.objective.state_dict()),
                    "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                    "average": dict(self.average.network.state_dict()) if self.average else {},
                    "sums": self.sums,
                    "count": self.count,
                    "progress": vars(self.progress),
                }
            )
        self.progress.checkpoint_seconds += time.perf_counter() - clock

    def _all_finite(self) -> bool:
        # Checks every loss of this epoch and every weight, on all processes.
        norms = torch.stack(torch._foreach_norm(list(self.objective.parameters())))
        finite = (torch.isfinite(norms).all() & (self.bad_step == self.steps)).float()
        if self.machine.world > 1:
            dist.all_reduce(finite, op=dist.ReduceOp.MIN)
        return bool(finite)

    def _resume(self) -> None:
        state = self.checkpoints.load(self.machine.device)
        if state is None:
            return
        self.objective.load_state_dict(state["objective"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
            for parameter, values in optimiser.state.items():
                # Tensors in the file are contiguous, but fused kernels need the memory layout of the parameter.
                for name, value in values.items():
                    if value.shape == parameter.shape:
                        values[name] = torch.empty_like(parameter).copy_(value)
        if self.average:
            self.average.network.load_state_dict(state["average"])
        self.sums, self.count = state["sums"], state["count"]
        self.progress = Progress(**state["progress"])
        self.progress.resumed += 1
        if self.machine.leads:
            print(f"{self.plan.title}: resuming at step {self.progress.step} of {self.steps}", file=sys.stderr)

    def _bar(self) -> tqdm:
        return tqdm(
            total=self.steps * self.training.batch_size,
            initial=self.progress.step * self.training.batch_size,
            desc=self.plan.title,
            unit="img",
            unit_scale=True,
            disable=not self.machine.leads,
            mininterval=0.5 if sys.stderr.isatty() else 20.0,  # keeps log files short
            dynamic_ncols=True,
            position=self.plan.line,
        )

    def _timing(self) -> dict:
        seconds, cpu_seconds = (sum(row[key] for row in self.progress.epochs) for key in ("seconds", "cpu_seconds"))
        return {
            "seconds_per_epoch": seconds / self.training.epochs,
            "seconds_total": seconds,
            "cpu_seconds_total": cpu_seconds,
            "images_per_second": self.steps * self.training.batch_size / seconds,
            "checkpoint_seconds": self.progress.checkpoint_seconds,
            "parameters": sum(p.numel() for p in self.objective.parameters() if p.requires_grad),
            "resumed": self.progress.resumed,
            "started": self.progress.started,
            **self.machine.describe(),
        }
