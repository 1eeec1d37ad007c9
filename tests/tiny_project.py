"""A project as the pipeline leaves it, with the tiny models of `tiny_generative` and what is drawn from them."""

from pathlib import Path

import numpy as np
import torch
import yaml
from tiny_generative import SAMPLING, VAE_SIZES, Files, dataset, save_ddpm, weaken

from triptych.data.sources.build import save
from triptych.ddpm import sample as ddpm
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
    """Write params, data and models to `root`, and draw from the models.

    Returns:
        The arrays that the pipeline draws from the VAE and, their names after `ddpm_`, from the diffusion model.
    """
    params = {"seed": 0, "runtime": RUNTIME, "sampling": SAMPLING}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    save(dataset(), root / "data/generative")
    (root / "models").mkdir()
    (root / "snapshots").mkdir()
    torch.manual_seed(0)
    autoencoder = Files(root / "models/vae", root / "snapshots/vae", root / "samples/vae")
    autoencoder.save(VAE(**VAE_SIZES), {"network": VAE_SIZES})
    diffusion = save_ddpm(root / "made")
    diffusion.model.rename(root / "models/ddpm")
    diffusion.snapshots.rename(root / "snapshots/ddpm")
    diffusion = weaken(Files(root / "models/ddpm", root / "snapshots/ddpm", root / "samples/ddpm"))
    return autoencoder.arrays(vae) | {f"ddpm_{name}": array for name, array in diffusion.arrays(ddpm).items()}
