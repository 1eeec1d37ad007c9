"""What takes part: a library at one of its settings, known by its steps alone, and what steps are made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from triptych.machine.device import Machine
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer
from triptych.training.objective import Objective, Resident, epoch_order
from triptych.training.params import Training

ENDLESS = 10**9  # steps of a schedule that does not end


@dataclass(frozen=True)
class Contestant:
    """A library at one of its settings.

    Attributes:
        setting: in words.
        images: how many a step trains on, summed over the processes that do it.
        threads: of torch in this process.
        step: makes one step. Further processes may work for it, but must rest after the last step of a turn.
    """

    setting: str
    images: int
    threads: int
    step: Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """How a peer is run.

    Attributes:
        bfloat16: whether it computes under autocast to bfloat16.
        tuned: whether weights and images are channels last, and optimiser and weight average use fused kernels.
        threads: of torch in its first process.
        workers: further processes, of its DataLoader, which stay between epochs; None where it has no DataLoader.
    """

    bfloat16: bool
    tuned: bool
    threads: int
    workers: int | None = None

    def __str__(self) -> str:
        words = ["bfloat16" if self.bfloat16 else "float32", *["channels last", "fused"] * self.tuned]
        if self.workers is not None:
            words += [counted(self.threads, "thread"), counted(self.workers, "worker")]
        return ", ".join(words)

    @property
    def layout(self) -> torch.memory_format:
        """How weights and images lie in memory."""
        return torch.channels_last if self.tuned else torch.contiguous_format

    def autocast(self, place: Machine) -> torch.autocast:
        """The precision of the forward pass."""
        return torch.autocast(place.device.type, torch.bfloat16, enabled=self.bfloat16)


def settings(place: Machine, workers: tuple[int | None, ...] = (None,)) -> list[Setting]:
    """As examples have it, with the most workers; the same in the precision of ours; and tuned, with each number.

    Workers have cores beside the threads, and in a further setting some of theirs.
    """
    half = place.dtype == torch.bfloat16
    plain = [Setting(bfloat16, False, place.threads, workers[-1]) for bfloat16 in ([False, True] if half else [False])]
    tuned = [
        Setting(half, True, threads, count)
        for count in workers
        for threads in sorted({place.threads, max(1, place.threads - (count or 0))})
    ]
    return plain + tuned


def counted(number: int, what: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Ours:
    """The training loop's own step, epoch after epoch over resident images."""

    def __init__(
        self, objective: Objective, images: Tensor, recipe: Training, place: Machine, steps: int = ENDLESS
    ) -> None:
        data = Resident(images, torch.zeros(len(images), dtype=torch.int64, device=place.device))
        recipe = recipe.model_copy(update={"epochs": -(-steps // (len(images) // recipe.batch_size))})
        checkpoints = Checkpoints("peers", "none", leads=False)
        self.trainer = Trainer(objective, data, recipe, Plan("peers", 0, 1e9), place, checkpoints)
        self.trainer.objective.train()

    def step(self) -> None:
        """One step."""
        epoch, begun = divmod(self.trainer.progress.step, self.trainer.steps_per_epoch)
        if not begun:
            self.order = epoch_order(len(self.trainer.data), 0, epoch, self.trainer.machine.device)
        self.trainer._step(self.order)


class Pictures(Dataset):
    """Images in memory, (N, H, W, C) uint8, each of Pillow's kind once it is asked for, as torchvision's CIFAR10."""

    def __init__(self, images: np.ndarray, transform: Callable[[Image.Image], object]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.transform(Image.fromarray(self.images[index])), 0


def endless(dataset: Dataset, batch_size: int, workers: int) -> Iterator[list]:
    """Shuffled batches. Workers end an epoch at rest: none begins a batch of the next before it is asked for."""
    loader = DataLoader(dataset, batch_size, True, drop_last=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader


def random_images(count: int) -> np.ndarray:
    """(N, 32, 32, 3) uint8; what they show costs no time."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def resident(images: np.ndarray, place: Machine) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W) on the device."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(place.device)


def network_gflop(network: nn.Module, place: Machine, count: int = 4) -> float:
    """10^9 floating-point operations of a denoiser's forward and backward pass, for each image of 32 x 32 pixels."""
    images = torch.zeros(count, 3, 32, 32, device=place.device)
    with FlopCounterMode(display=False) as counter:
        output = network(images, torch.ones(count, device=place.device))
        getattr(output, "sample", output).sum().backward()
    network.zero_grad()
    return counter.get_total_flops() / count / 1e9
