"""DDPM compared with diffusers and denoising-diffusion-pytorch, each with a network of similar cost.

All read batches from images on the device, so only networks, optimisers and weight averages are compared.
"""

from collections.abc import Callable
from functools import partial

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from ema_pytorch import EMA
from torch import Tensor, nn

from benchmarks.peers.contestant import (
    ENDLESS,
    Contestant,
    Ours,
    Setting,
    network_gflop,
    random_images,
    resident,
    settings,
)
from benchmarks.peers.turns import compare, summary
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import diffusion_method
from triptych.ddpm.params import DDPMParams
from triptych.ddpm.samplers import draw_images
from triptych.machine.device import Machine
from triptych.training.objective import to_float

STEPS = 3
SIZE, STEPS_OF_CHAIN, WARMUP_STEPS, SAMPLES_AT_ONCE = 32, 1000, 100, 250
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)  # candidates for the first level of a peer
LEARNING_RATE = 0.001  # of both peers; ten times as large as in their examples, which train for days


class Triptych(Ours):
    """Network and recipe of params.yaml, with a sampler."""

    def __init__(
        self, study: DDPMParams, images: Tensor, place: Machine, steps: int = ENDLESS, sampler: str = ""
    ) -> None:
        torch.manual_seed(0)
        self.sampler = sampler
        method = diffusion_method(triptych_network(study), study.process)
        super().__init__(method, images, study.training, place, steps)

    def sample(self, count: int, calls: int) -> Tensor:
        """Draw images (count, 3, 32, 32) in [-1, 1] with a number of network calls."""
        method, place = self.trainer.objective, self.trainer.machine
        method.network.load_state_dict(self.trainer.network.state_dict())
        with place.autocast():
            return draw_images(
                method.eval(), (3, SIZE, SIZE), count, self.sampler, calls, 0, SAMPLES_AT_ONCE, place.device
            )


def triptych_network(study: DDPMParams) -> nn.Module:
    """Build the network of params.yaml."""
    return denoising_network(image_shape=(3, SIZE, SIZE), **study.network.model_dump())


def diffusers_network(width: int) -> UNet2DModel:
    """Build a network of three levels with doubling width and attention in the coarsest level."""
    return UNet2DModel(
        sample_size=SIZE,
        block_out_channels=(width, 2 * width, 4 * width),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


class Diffusers:
    """diffusers' model, scheduler, schedule and weight average in the loop of its unconditional training example."""

    def __init__(
        self, width: int, images: Tensor, batch: int, setting: Setting, place: Machine, steps: int = ENDLESS
    ) -> None:
        torch.manual_seed(0)
        self.images, self.batch, self.setting, self.place = images, batch, setting, place
        self.network = diffusers_network(width).to(place.device, memory_format=setting.layout)
        self.scheduler = DDPMScheduler(STEPS_OF_CHAIN, prediction_type="v_prediction")
        parameters = list(self.network.parameters())
        self.optimiser = torch.optim.AdamW(
            parameters, LEARNING_RATE, (0.95, 0.999), weight_decay=1e-6, fused=setting.tuned or None
        )
        self.rate = get_cosine_schedule_with_warmup(self.optimiser, WARMUP_STEPS, steps)
        self.average = EMAModel(parameters, use_ema_warmup=True, power=0.75, foreach=setting.tuned)

    def step(self) -> None:
        x0 = random_batch(self.images, self.batch)
        noise = torch.randn_like(x0)
        t = torch.randint(0, STEPS_OF_CHAIN, (len(x0),), device=x0.device)
        noisy = self.scheduler.add_noise(x0, noise, t).contiguous(memory_format=self.setting.layout)
        with self.setting.autocast(self.place):
            output = self.network(noisy, t).sample
        loss = nn.functional.mse_loss(output.float(), self.scheduler.get_velocity(x0, noise, t))
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.rate.step()
        self.optimiser.zero_grad()
        self.average.step(self.network.parameters())

    @torch.inference_mode()
    def sample(self, count: int, calls: int) -> Tensor:
        """Draw images (count, 3, 32, 32) in [-1, 1] with DPM-Solver++, a sampler for few network calls."""
        self.average.copy_to(self.network.parameters())
        torch.manual_seed(0)
        sizes = [min(SAMPLES_AT_ONCE, count - start) for start in range(0, count, SAMPLES_AT_ONCE)]
        return torch.cat([self._batch(size, calls).cpu() for size in sizes])

    def _batch(self, count: int, calls: int) -> Tensor:
        sampler = DPMSolverMultistepScheduler.from_config(self.scheduler.config)
        sampler.set_timesteps(calls)
        x = torch.randn(count, 3, SIZE, SIZE, device=self.place.device)
        for t in sampler.timesteps:
            with self.setting.autocast(self.place):
                output = self.network(x, t).sample
            x = sampler.step(output.float(), t, x).prev_sample
        return x


def ddp_network(width: int, fused: bool = False) -> Unet:
    """Build a network of three levels with doubling width and full attention in the coarsest level, the default."""
    return Unet(dim=width, dim_mults=(1, 2, 4), flash_attn=fused)


class DenoisingDiffusionPytorch:
    """denoising-diffusion-pytorch's network and diffusion in the loop of its Trainer, without Accelerator."""

    def __init__(
        self, width: int, images: Tensor, batch: int, setting: Setting, place: Machine, steps: int = ENDLESS
    ) -> None:
        torch.manual_seed(0)
        self.images, self.batch, self.setting, self.place = images, batch, setting, place
        network = ddp_network(width, setting.tuned)
        self.model = GaussianDiffusion(network, image_size=SIZE, timesteps=STEPS_OF_CHAIN)
        self.model.to(place.device, memory_format=setting.layout)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), LEARNING_RATE, (0.9, 0.99), fused=setting.tuned or None
        )
        self.average = EMA(self.model, beta=0.995, update_every=10, use_foreach=setting.tuned)

    def step(self) -> None:
        x0 = random_batch(self.images, self.batch).add(1).div(2).contiguous(memory_format=self.setting.layout)
        with self.setting.autocast(self.place):
            loss = self.model(x0)
        self.loss = loss.item()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update()


def random_batch(images: Tensor, batch: int) -> Tensor:
    """Return a random batch of images as floats in [-1, 1]."""
    return to_float(images[torch.randint(len(images), (batch,), device=images.device)])


def least_width(build: Callable[[int], nn.Module], gflop: float, place: Machine) -> tuple[int, float]:
    """Return the smallest width with at least `gflop` GFLOP per image, and its GFLOP per image.

    Wider levels use a machine more efficiently, so the difference is no disadvantage of the peer in GFLOP/s.
    """
    for width in WIDTHS:
        found = network_gflop(build(width).to(place.device), place)
        if found >= gflop:
            break
    return width, found


PEERS = {
    "diffusers": (diffusers_network, Diffusers),
    "denoising_diffusion_pytorch": (ddp_network, DenoisingDiffusionPytorch),
}


def measure(study: DDPMParams, place: Machine, rounds: int) -> dict[str, dict]:
    """Return images per second and GFLOP/s, for us and for each peer."""
    batch = study.training.batch_size
    images = resident(random_images(2 * batch), place)
    ours = Contestant("ours", batch, place.threads, Triptych(study, images, place).step)
    mine = network_gflop(triptych_network(study).to(place.device), place)
    rows = {}
    for name, (network, learner) in PEERS.items():
        width, theirs = least_width(network, mine, place)
        make = partial(learner, width, images, batch, place=place)
        peers = [
            Contestant(str(setting), batch, setting.threads, make(setting=setting).step) for setting in settings(place)
        ]
        rows[f"ddpm_{name}"] = {
            "title": "DDPM",
            "unit": "images/s",
            "peer_name": name.replace("_", "-"),
            "differs": f"its own network, {width} to {4 * width} channels wide",
            **summary(compare(ours, peers, rounds, STEPS, wait=place.synchronise), (mine, theirs)),
        }
    return rows
