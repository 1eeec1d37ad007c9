"""A project as the pipeline leaves it, with the tiny models of `tiny_generative` and what is drawn from them."""

from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.numpy import save_file
from tiny_generative import CPU, SAMPLING, VAE_SIZES, Files, dataset, place, sampling, save_ddpm

from triptych.data.storage import save
from triptych.ddpm import sample as ddpm
from triptych.ddpm.trained import load_trained
from triptych.nn.weights import save_weights
from triptych.vae import sample as vae
from triptych.vae.model import VAE

RUNTIME = {
    "launch": "python",
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
    "compile": False,
    "checkpoint_seconds": 60.0,
}


def trained_project(root: Path) -> dict[str, np.ndarray]:
    """Writes params, data and models to `root`, and the fitted prior.

    Returns:
        The arrays that the pipeline draws from the VAE and, their names after `ddpm_`, from the diffusion model.
    """
    params = {"seed": 0, "runtime": RUNTIME, "sampling": SAMPLING}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    save(dataset(), root / "data/generative")
    (root / "models").mkdir()
    (root / "snapshots").mkdir()
    torch.manual_seed(0)
    autoencoder = Files(root / "models/vae", root / "snapshots/vae")
    autoencoder.save(VAE(**VAE_SIZES), {"network": VAE_SIZES})
    diffusion = save_ddpm(root / "made")
    diffusion.model.rename(root / "models/ddpm")
    diffusion.snapshots.rename(root / "snapshots/ddpm")
    diffusion = Files(root / "models/ddpm", root / "snapshots/ddpm")
    guide = load_trained(diffusion.model, CPU).network
    with torch.no_grad():
        guide.head.weight.mul_(0.5)  # a worse self, so that guidance changes images
    save_weights(diffusion.snapshots / "epoch_0001.safetensors", guide)
    of_vae, of_ddpm = (
        study.draw(files.model, files.snapshots, dataset(), sampling(), 0, place())
        for study, files in ((vae, autoencoder), (ddpm, diffusion))
    )
    (root / "samples/vae").mkdir(parents=True)
    save_file(of_vae.tensors["prior"], root / "samples/vae/prior.safetensors")
    return {**of_vae.arrays, **{f"ddpm_{name}": array for name, array in of_ddpm.arrays.items()}}
