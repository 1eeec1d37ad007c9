"""Measure VAEs with several likelihood sigmas and fitted priors, to choose `vae` and its prior in params.yaml.

    python benchmarks/vae_prior.py --sigmas 0.3 0.4 0.5 --components 100 --draws 2

Needs models/classifier, an output of `dvc repro classifier`. Test images are not used: the VAEs are trained on the
training images with the recipe of params.yaml, and compared with held-out ones. For each VAE and prior, prints one row
for samples from N(0, I) and one for the fitted prior, and the percentage of held-out images whose reconstructions keep
their class.
"""

import argparse

import numpy as np
import torch
from held_out import without_test_images
from measured import Measured, heading
from runs import trained

from triptych.core.errors import one_line_errors
from triptych.core.seeds import fold
from triptych.data.storage import Dataset
from triptych.machine.device import Machine, machine
from triptych.params import Params, check
from triptych.report.formatting import PERCENT
from triptych.vae.model import VAE
from triptych.vae.objective import VAEObjective
from triptych.vae.prior import fit
from triptych.vae.sample import Codec, prior_draws


def codec(params: Params, sigma: float, dataset: Dataset, place: Machine) -> Codec:
    """Train a VAE with likelihood sigma `sigma`."""
    torch.manual_seed(fold(params.seed, "weights"))
    network = VAE(image_shape=dataset.train.images.shape[1:], **params.vae.network.model_dump())
    network = trained(VAEObjective(network, sigma), params.vae.training, dataset, params.seed, place)
    return Codec(network, place.device, params.sampling.batch_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sigmas", type=float, nargs="+", required=True, help="standard deviations of the likelihood p(x|z)"
    )
    parser.add_argument(
        "--components", type=int, nargs="+", required=True, help="numbers of Gaussians in the fitted prior"
    )
    parser.add_argument("--draws", type=int, nargs="+", required=True, help="numbers of samples of q(z|x) per image")
    asked = parser.parse_args()
    params = check()
    how = params.sampling.vae
    with machine(params.runtime) as place:
        dataset = without_test_images(params.data.generative, params.seed)
        real = np.asarray(dataset.test.images)
        measured = Measured(real, params, place)
        print(heading("sigma", "prior", "keep their class"), flush=True)
        for sigma in asked.sigmas:
            vae = codec(params, sigma, dataset, place)
            same = (measured.judge(vae.decode(vae.encode(real))).classes() == measured.classes).mean()
            first = f"| {sigma:g} |"
            z = prior_draws(how.samples, params.vae.network.latents, params.seed)
            print(f"{first} N(0, I) | {same:{PERCENT}} | {measured.cells(vae.decode(z))} |", flush=True)
            posterior = vae.posterior(dataset.train.images)
            for components in asked.components:
                for draws in asked.draws:
                    fitted = how.fitted_prior.model_copy(update={"components": components, "draws": draws})
                    z = fit(*posterior, fitted, params.seed).draw(how.samples, params.seed)
                    name = f"{components} Gaussians, {draws} draws"
                    print(f"{first} {name} | | {measured.cells(vae.decode(z))} |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
