"""Contestants: a library with one setting, represented by its training step, and components of such steps."""

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

ENDLESS = 10**9  # steps of a schedule without an end


@dataclass(frozen=True)
class Contestant:
    """A library with one setting.

    Attributes:
        setting: description.
        images: images per step, summed over processes.
        threads: threads of torch in this process.
        step: function that makes one step. Other processes that it uses must be idle after the last step of a turn.
    """

    setting: str
    images: int
    threads: int
    step: Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """Setting of a peer.

    Attributes:
        bfloat16: True for autocast to bfloat16.
        tuned: True for weights and images in channels-last format, and a fused optimiser and weight average.
        threads: threads of torch in the main process.
        workers: persistent worker processes of its DataLoader; None without a DataLoader.
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
        """Memory format of weights and images."""
        return torch.channels_last if self.tuned else torch.contiguous_format

    def autocast(self, place: Machine) -> torch.autocast:
        """Return the autocast context of the forward pass."""
        return torch.autocast(place.device.type, torch.bfloat16, enabled=self.bfloat16)


def settings(place: Machine, workers: tuple[int | None, ...] = (None,)) -> list[Setting]:
    """Return the settings of a peer: as in its example with the most workers, then in our precision, then tuned.

    Tuned settings exist for each number of workers, whose cores are additional to those of the threads or shared.
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
    """Format a count, such as `1 worker` or `2 workers`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Ours:
    """The training loop's own step on images on the device."""

    def __init__(
        self, objective: Objective, images: Tensor, recipe: Training, place: Machine, steps: int = ENDLESS
    ) -> None:
        data = Resident(images, torch.zeros(len(images), dtype=torch.int64, device=place.device))
        recipe = recipe.model_copy(update={"epochs": -(-steps // (len(images) // recipe.batch_size))})
        checkpoints = Checkpoints("peers", "none", leads=False)
        self.trainer = Trainer(objective, data, recipe, Plan("peers", 0, 1e9), place, checkpoints)
        self.trainer.objective.train()

    def step(self) -> None:
        epoch, begun = divmod(self.trainer.progress.step, self.trainer.steps_per_epoch)
        if not begun:
            self.order = epoch_order(len(self.trainer.data), 0, epoch, self.trainer.machine.device)
        self.trainer._step(self.order)


class Pictures(Dataset):
    """Images uint8 (N, H, W, C) in memory that become Pillow images on access, as in torchvision's CIFAR10."""

    def __init__(self, images: np.ndarray, transform: Callable[[Image.Image], object]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.transform(Image.fromarray(self.images[index])), 0


def endless(dataset: Dataset, batch_size: int, workers: int) -> Iterator[list]:
    """Yield shuffled batches forever.

    Workers are idle at the end of an epoch: none prepares a batch of the next epoch before it is requested.
    """
    loader = DataLoader(dataset, batch_size, True, drop_last=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader


def random_images(count: int) -> np.ndarray:
    """Return images uint8 (N, 32, 32, 3) of noise. The content does not change the speed."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def resident(images: np.ndarray, place: Machine) -> Tensor:
    """Copy images (N, H, W, C) to the device as (N, C, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(place.device)


def network_gflop(network: nn.Module, place: Machine, count: int = 4) -> float:
    """Return the GFLOP per 32x32 image of a denoiser's forward and backward pass."""
    images = torch.zeros(count, 3, 32, 32, device=place.device)
    with FlopCounterMode(display=False) as counter:
        output = network(images, torch.ones(count, device=place.device))
        getattr(output, "sample", output).sum().backward()
    network.zero_grad()
    return counter.get_total_flops() / count / 1e9
