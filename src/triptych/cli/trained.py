"""The trained generative models of this project. Loading them runs no code from their files.

Models are loaded to the CPU, so that whatever is wrong with them is said before a device is set up.
"""

import json
from pathlib import Path

import torch

from triptych.core.errors import InputError
from triptych.ddpm.objective import DenoisingObjective, load_trained
from triptych.ddpm.sample import load_guide
from triptych.nn.weights import load_model, snapshot_files
from triptych.vae.model import VAE
from triptych.vae.prior import Mixture, load_mixture

CPU = torch.device("cpu")
MODELS = Path("models")
SNAPSHOTS = Path("snapshots")
PRIOR = Path("samples/vae/prior.safetensors")
TITLES = {"vae": "VAE", "ddpm": "diffusion model"}


def model_folder(study: str) -> Path:
    """Where the trained model of a study lies.

    Raises:
        InputError: it does not.
    """
    folder = MODELS / study
    if not all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
        raise InputError(
            f"{folder}: no trained {TITLES[study]}; `dvc repro {study}` trains it, `dvc pull {study}` fetches it "
            "from a remote that has it"
        )
    return folder


def image_shape(study: str) -> tuple[int, int, int]:
    """(C, H, W) of the images that a trained model takes and gives; see `model_folder`."""
    config = json.loads((model_folder(study) / "config.json").read_text(encoding="utf-8"))
    return tuple(config["network"]["image_shape"])


def vae() -> VAE:
    """The trained VAE, in eval mode.

    Raises:
        InputError: it is missing, damaged, or of another architecture.
    """
    return load_model(model_folder("vae"), VAE, CPU)[0]


def ddpm() -> DenoisingObjective:
    """The trained diffusion model, in eval mode.

    Raises:
        InputError: it is missing, damaged, or of another architecture.
    """
    return load_trained(model_folder("ddpm"), CPU)


def guide(epoch: int) -> DenoisingObjective:
    """The diffusion model as it was after an epoch.

    Raises:
        InputError: no weights were kept after that epoch, or a file is missing or damaged.
    """
    kept = snapshot_files(SNAPSHOTS / "ddpm")
    if epoch not in kept:
        epochs = ", ".join(map(str, kept))
        raise InputError(f"--guidance-epoch {epoch}: no weights were kept after that epoch; allowed are {epochs}")
    return load_guide(model_folder("ddpm"), epoch, kept, CPU)


def fitted_prior(latents: int) -> Mixture:
    """The mixture over z of that size which the pipeline has fitted to the trained VAE.

    Raises:
        InputError: it is missing, damaged, or of a VAE with another number of latents.
    """
    if not PRIOR.is_file():
        raise InputError(f"{PRIOR}: no fitted prior; `dvc repro sample@vae` fits it, or take --prior normal")
    mixture = load_mixture(PRIOR)
    if mixture.means.shape[1] != latents:
        raise InputError(
            f"{PRIOR}: fitted to {mixture.means.shape[1]} latents, and models/vae has {latents}; "
            "`dvc repro sample@vae` fits it again"
        )
    return mixture
