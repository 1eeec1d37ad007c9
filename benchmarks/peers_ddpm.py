"""The DDPM's train step against diffusers' UNet2DModel at about equal arithmetic, in one run, taking turns.

    python benchmarks/peers_ddpm.py

Needs the `peers` extra. Both steps do the same: noise a batch, predict, mean squared error, backward, clip, AdamW,
average the weights. Ours is the network and recipe of params.yaml; theirs is sized to the nearest arithmetic, in its
own memory layout and again in channels last. Prints one JSON object a contestant.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from triptych.core.machine import Machine, machine
from triptych.core.runtime import Runtime
from triptych.core.schema import read
from triptych.data.batches import Resident, to_float
from triptych.ddpm.method import diffusion_method
from triptych.ddpm.network import denoising_network
from triptych.ddpm.params import DDPMParams
from triptych.training.checkpoint import Checkpoints
from triptych.training.loop import Plan, Trainer

SHAPE = (3, 32, 32)
ROUNDS = 15
WARMUP = 3

Step = Callable[[], None]


def ours(study: DDPMParams, images: torch.Tensor, place: Machine, folder: Path) -> Step:
    """The training loop's own step."""
    torch.manual_seed(0)
    method = diffusion_method(denoising_network(image_shape=SHAPE, **study.network.model_dump()), study.process)
    data = Resident(images, torch.zeros(len(images), dtype=torch.int64, device=place.device))
    recipe = study.training.model_copy(update={"epochs": 10**6})
    trainer = Trainer(method, data, recipe, Plan("ddpm", 0, 1e9), place, Checkpoints("ddpm", "peers", root=folder))
    order = torch.arange(len(images), device=place.device)
    return lambda: trainer._step(order)


def theirs(channels: tuple[int, ...], images: torch.Tensor, place: Machine, layout: torch.memory_format) -> Step:
    """diffusers' model, scheduler and weight average in the loop of its training example."""
    torch.manual_seed(0)
    plain, attending = "DownBlock2D", "AttnDownBlock2D"
    network = UNet2DModel(
        sample_size=SHAPE[1],
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=(*[plain] * (len(channels) - 1), attending),
        up_block_types=(attending.replace("Down", "Up"), *[plain.replace("Down", "Up")] * (len(channels) - 1)),
    ).to(place.device, memory_format=layout)
    scheduler = DDPMScheduler(num_train_timesteps=1000, prediction_type="v_prediction")
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.001)
    average = EMAModel(network.parameters())

    def step() -> None:
        x0 = to_float(images)
        noise = torch.randn_like(x0)
        t = torch.randint(0, 1000, (len(x0),), device=place.device)
        with place.autocast():
            output = network(scheduler.add_noise(x0, noise, t), t).sample
        loss = nn.functional.mse_loss(output.float(), scheduler.get_velocity(x0, noise, t))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.step(network.parameters())

    return step


def seconds(step: Step, place: Machine) -> float:
    """One step, by the wall clock."""
    place.synchronise()
    clock = time.perf_counter()
    step()
    place.synchronise()
    return time.perf_counter() - clock


def main() -> None:
    """Takes turns step by step, so that a busy moment of the machine hits all alike, and prints medians."""
    params = read(runtime=Runtime, ddpm=DDPMParams)
    with machine(params.runtime) as place, tempfile.TemporaryDirectory() as folder:
        size = params.ddpm.training.batch_size
        images = torch.randint(0, 256, (size, *SHAPE), dtype=torch.uint8, device=place.device)
        contestants = {
            "triptych": ours(params.ddpm, images, place, Path(folder)),
            "diffusers": theirs(CHANNELS, images, place, torch.contiguous_format),
            "diffusers, channels last": theirs(CHANNELS, images, place, torch.channels_last),
        }
        flops = {}
        for name, step in contestants.items():
            with FlopCounterMode(display=False) as counter:
                step()
            flops[name] = counter.get_total_flops()
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for round_number in range(WARMUP + ROUNDS):
            for name, step in contestants.items():
                taken = seconds(step, place)
                if round_number >= WARMUP:
                    times[name].append(taken)
        for name, taken in times.items():
            median = statistics.median(taken)
            result = {
                "name": name,
                "batch": size,
                "gflop_per_image": flops[name] / size / 1e9,
                "images_per_second": size / median,
                "gflops": flops[name] / median / 1e9,
                "best_images_per_second": size / min(taken),
                "best_gflops": flops[name] / min(taken) / 1e9,
                **place.describe(),
            }
            print(json.dumps(result))


# Widths that bring UNet2DModel's arithmetic near that of params.yaml's network.
CHANNELS = (16, 32, 64)

if __name__ == "__main__":
    main()
