"""A judge, a VAE and a diffusion model with their files, all untrained and tiny, and params that draw little."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn
from toy_diffusion import COSINE, process
from toy_images import pictures

from triptych.core.files import read_arrays
from triptych.core.schema import validate
from triptych.data.storage import Dataset, Split
from triptych.ddpm.model import denoising_network
from triptych.ddpm.objective import load_trained
from triptych.judge.measure import Judge
from triptych.judge.model import Classifier
from triptych.machine.device import Machine
from triptych.measures.params import EvaluationParams
from triptych.nn.weights import save_model, save_weights
from triptych.params import SamplingParams
from triptych.vae.model import VAE

CPU = torch.device("cpu")
EPOCHS = (1, 5)

SAMPLING = {
    "batch_size": 16,
    "vae": {
        "samples": 70,
        "fitted_prior": {"components": 3, "covariance": "full", "draws": 2, "iterations": 20},
        "interpolation_pairs": 5,
        "interpolation_steps": 4,
    },
    "ddpm": {
        "samples": 70,
        "sampler": {"name": "dpm_solver", "steps": 3},
        "guidance": {"weight": 2.0, "epoch": 1, "compared": {"epochs": [1, 5], "weights": [1.5, 2.0], "samples": 20}},
        "restoration": {
            "schedule": {"name": "linear", "steps": 1000, "first_beta": 0.0001, "last_beta": 0.02},
            "times": [30, 120, 500],
            "images": 20,
            "steps": 3,
            "strip_class": 4,
        },
        "cost": {
            "samples": 20,
            "steps": {"ancestral": [], "ddim": [2], "sde_dpm_solver": [], "dpm_solver": [], "heun": [2]},
        },
    },
}
EVALUATION = {
    "batch_size": 16,
    "bootstrap": 10,
    "confidence_level": 0.95,
    "recognition_threshold": 0.8,
    "manifold_neighbours": 3,
    "manifold_images": 1000,
    "vae": {"likelihood_images": 8, "importance_samples": 4},
    "ddpm": {"bound": {"steps": 1000, "images": 8, "times": 5}},
    "ssl": {
        "knn": {"neighbours": 5, "temperature": 0.1, "features": "backbone"},
        "probe_penalty": 0.001,
        "pairs": 20,
        "collapse": {"embedding_std": 0.5, "effective_rank": 8.0},
    },
}
PATCH_UNET = {
    "name": "patch_unet",
    "image_shape": [3, 32, 32],
    "patch": 2,
    "channels": [8, 16],
    "blocks": [1, 1],
    "attention": [False, True],
    "middle_blocks": 1,
    "head_size": 16,
    "time_size": 16,
}
VAE_SIZES = {"image_shape": [3, 32, 32], "channels": [8, 8], "latents": 12}


def sampling() -> SamplingParams:
    return validate(SamplingParams, SAMPLING, "sampling", Path("test"))


def evaluation() -> EvaluationParams:
    return validate(EvaluationParams, EVALUATION, "evaluation", Path("test"))


def place(dtype: torch.dtype = torch.float32) -> Machine:
    return Machine(CPU, dtype, torch.get_num_threads())


def dataset() -> Dataset:
    """Ten classes of eight images, one after another, so that those of the two halves differ."""
    train, test = (Split(pictures(80, seed=seed), np.arange(80) // 8) for seed in (0, 1))
    return Dataset(train, test, [str(number) for number in range(10)], "drawn", "none")


def judge() -> Judge:
    torch.manual_seed(0)
    return Judge(Classifier(3, 10, 8, [1, 1], 2), CPU, 16)


def inputs(judge: Judge, dataset: Dataset, drawn: dict[str, np.ndarray]) -> dict:
    """Return the arguments that the measures of both generative studies share."""
    return {"judge": judge, "dataset": dataset, "drawn": drawn, "settings": evaluation(), "seed": 0, "device": CPU}


@dataclass(frozen=True)
class Files:
    """Paths of a study's weights, and of what is drawn from them."""

    model: Path
    snapshots: Path
    drawn: Path

    def draw(self, study: ModuleType, **changes: object) -> list[dict]:
        """Run a study's `draw`; returns its rows of timing."""
        given = {"dataset": dataset(), "params": sampling(), "seed": 0, "machine": place()} | changes
        return study.draw(folder=self.drawn, model=self.model, snapshots=self.snapshots, **given)

    def arrays(self, study: ModuleType, **changes: object) -> dict[str, np.ndarray]:
        """Arrays that a study's `draw` writes."""
        self.draw(study, **changes)
        return read_arrays(self.drawn / "images.npz")

    def save(self, network: nn.Module, config: dict) -> nn.Module:
        """Writes a network as the trained one, and as that of each snapshot epoch."""
        save_model(self.model, network, config)
        for epoch in EPOCHS:
            save_weights(self.snapshots / f"epoch_{epoch:04d}.safetensors", network)
        return network


def files(folder: Path) -> Files:
    return Files(folder / "model", folder / "snapshots", folder / "drawn")


def save_vae(folder: Path) -> Files:
    torch.manual_seed(0)
    files(folder).save(VAE(**VAE_SIZES), {"network": VAE_SIZES})
    return files(folder)


def save_ddpm(folder: Path, head_std: float = 0.05, head_bias: float | None = None) -> Files:
    """A diffusion model whose answer is its last layer's: of random weights, or of no weights and one bias."""
    torch.manual_seed(0)
    network = denoising_network(**PATCH_UNET)
    nn.init.normal_(network.head.weight, std=head_std)
    if head_bias is not None:
        nn.init.constant_(network.head.bias, head_bias)
    learned = process(schedule=COSINE, parameterisation="x0").model_dump()
    files(folder).save(network, {"network": PATCH_UNET, "process": learned})
    return files(folder)


def weaken(saved: Files) -> Files:
    """Let the snapshot of epoch 1, the guide, answer half of what the trained diffusion model answers."""
    guide = load_trained(saved.model, CPU).network
    with torch.no_grad():
        guide.head.weight.mul_(0.5)
    save_weights(saved.snapshots / "epoch_0001.safetensors", guide)
    return saved
