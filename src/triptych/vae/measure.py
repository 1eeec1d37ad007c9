"""Measures of the VAE: bounds on the likelihood, reconstructions, samples, and the latent space."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.data.storage import Dataset
from triptych.judge.generated import COMPARED, Numbers, RealImages, measure_generated
from triptych.judge.measure import Judge
from triptych.machine.randomness import Draw
from triptych.machine.tasks import merged_results
from triptych.measures import needs
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.training.objective import float_batches, to_uint8
from triptych.vae.model import VAE
from triptych.vae.objective import kl_to_standard_normal, reparameterise
from triptych.vae.prior import Mixture

# Elementwise log-probability of images, given the decoder's mean.
LogLikelihood = Callable[[Tensor, Tensor], Tensor]
FINAL = 5  # samples that the report shows one by one
TOP_LATENTS = 3
OF_A_CLASS = 5  # test images, at least: the mean latents of fewer are mostly noise
# Burda et al. 2016 (arXiv:1509.00519), section 5: a unit is active when its mean moves by more than this over the data.
ACTIVE_VARIANCE = 0.01
LATENT_COLUMNS = ["class", "latent", "mean", "std", "share"]


# --- Likelihood ---


def log_normal(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; mean, exp(log_var)) summed over the last dimension."""
    return -0.5 * ((x - mean).square() / log_var.exp() + log_var + math.log(2 * math.pi)).sum(dim=-1)


def gaussian_log_density(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Elementwise log-density of N(mean, sigma²) on images scaled to [-1, 1]."""
    return -0.5 * ((x - mean) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)


@torch.inference_mode()
def calibrated_sigma(network: VAE, images: Tensor, draw: Draw, batch_size: int) -> float:
    """Sigma that maximises E_q[log N(x; decoder(z), sigma² I)] on images (N, C, H, W) in [-1, 1], in closed form.

    It is the root of the mean squared error with z drawn from q (Rybkin et al. 2021, arXiv:2006.13202, equation 6).
    """
    mu, log_var = _posteriors(network, images, batch_size)
    # Drawn for all images at once, so that the noise of an image does not depend on the batch.
    z = reparameterise(mu, log_var, draw.normal(tuple(mu.shape)))
    errors = [
        (block - network.decode(code)).square().flatten(1).mean(dim=1)
        for block, code in zip(images.split(batch_size), z.split(batch_size), strict=True)
    ]
    return float(torch.cat(errors).double().mean().sqrt())


@torch.inference_mode()
def importance_weights(
    network: VAE, images: Tensor, draw: Draw, samples: int, likelihoods: Sequence[LogLikelihood], rows: int
) -> list[tuple[Tensor, Tensor]]:
    """Evidence lower bound and log importance weights of each image, under each likelihood for the same z.

    Args:
        images: (N, C, H, W) in [-1, 1].
        samples: K, samples of z per image.
        likelihoods: elementwise log p(x|z) from (x, mean), e.g. of `gaussian_log_density`.
        rows: number of decoded images to hold at once.

    Returns:
        For each likelihood the ELBO (N,), with the exact KL and the mean nll over the K samples, and
        log w = log p(x|z) + log p(z) - log q(z|x), (N, K); both in nats.
    """
    elbos: list[list[Tensor]] = [[] for _ in likelihoods]
    weights: list[list[Tensor]] = [[] for _ in likelihoods]
    all_mu, all_log_var = _posteriors(network, images, rows)
    # Drawn for all images at once, so that the noise of an image does not depend on the batch.
    epsilon = draw.normal((len(images), samples, all_mu.shape[1]))
    blocks = (tensor.split(max(1, rows // samples)) for tensor in (images, all_mu, all_log_var, epsilon))
    for block, mu, log_var, noise in zip(*blocks, strict=True):
        many_mu, many_log_var = (t.repeat_interleave(samples, dim=0) for t in (mu, log_var))
        z = reparameterise(many_mu, many_log_var, noise.flatten(0, 1))
        targets, mean = block.repeat_interleave(samples, dim=0), network.decode(z)
        prior = log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).view(-1, samples)
        posterior = log_normal(z, many_mu, many_log_var).view(-1, samples)
        kl = kl_to_standard_normal(mu, log_var)
        for i, log_likelihood in enumerate(likelihoods):
            log_x = log_likelihood(targets, mean).flatten(1).sum(dim=1).view(-1, samples)
            elbos[i].append(log_x.mean(dim=1) - kl)
            weights[i].append(log_x + prior - posterior)
    return [(torch.cat(elbo), torch.cat(weight)) for elbo, weight in zip(elbos, weights, strict=True)]


def _posteriors(network: VAE, images: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    means, log_vars = zip(*(network.encode(block) for block in images.split(rows)), strict=True)
    return torch.cat(means), torch.cat(log_vars)


def iwae_bound(log_weights: Tensor) -> Tensor:
    """log (1/K) sum_k w_k of (N, K) log weights: the importance-weighted bound (Burda et al. 2016, equation 8)."""
    return log_weights.double().logsumexp(dim=1) - math.log(log_weights.shape[1])


# --- The latent space; mu are posterior means (N, latents) ---


def active_units(mu: np.ndarray) -> int:
    """Number of latents whose posterior mean varies over the images."""
    return int((mu.var(axis=0) > ACTIVE_VARIANCE).sum())


def class_table(mu: np.ndarray, labels: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Mean and deviation of each latent over each class, and its share in setting the class apart.

    `share` is the latent's part of the squared distance between the class mean and the mean over all images; it sums
    to 1 within a class, or to 0 if the distance is 0. The table is empty for fewer than two classes.
    """
    if len(classes) < 2:
        return pd.DataFrame(columns=LATENT_COLUMNS)
    tables = []
    for c, name in enumerate(classes):
        rows = mu[labels == c]
        offset = np.square(rows.mean(axis=0) - mu.mean(axis=0))
        share = offset / offset.sum() if offset.any() else offset
        columns = (name, range(mu.shape[1]), rows.mean(axis=0), rows.std(axis=0), share)
        tables.append(pd.DataFrame(dict(zip(LATENT_COLUMNS, columns, strict=True))))
    return pd.concat(tables, ignore_index=True)


def top_share(mu: np.ndarray, labels: np.ndarray, classes: int, top: int) -> np.ndarray:
    """(classes,) share of each class's between-class variance that its `top` strongest latents carry.

    NaN for a class without an image, or whose mean is that of all images.
    """
    overall, shares = mu.mean(axis=0), np.full(classes, np.nan, mu.dtype)
    for c in range(classes):
        of_class = mu[labels == c]
        offset = np.square(of_class.mean(axis=0) - overall) if len(of_class) else np.zeros_like(overall)
        if offset.any():
            shares[c] = np.sort(offset)[-top:].sum() / offset.sum()
    return shares


def step_evenness(features: np.ndarray) -> np.ndarray:
    """Largest over mean step along paths of features (pairs, steps, d): 1 is perfectly even.

    (pairs,), without paths along which nothing changes.
    """
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)
    steps = steps[steps.any(axis=1)]
    return steps.max(axis=1) / steps.mean(axis=1)


# --- The study ---


class VAEMeasures:
    """Measures of one VAE.

    Args:
        network: in eval mode on `device`.
        judge: reads images.
        dataset: training data of the network.
        drawn: arrays that `triptych.vae.sample.draw` wrote.
        prior: the mixture that was fitted to the aggregate posterior.
        settings: section `evaluation`.
        seed: of the noise and the resamples.
        device: where to compute.
        at_once: number of tasks to run side by side, on a CPU.
    """

    def __init__(
        self,
        network: VAE,
        judge: Judge,
        dataset: Dataset,
        drawn: Mapping[str, np.ndarray],
        prior: Mixture,
        settings: EvaluationParams,
        seed: int,
        device: torch.device,
        at_once: int = 1,
    ) -> None:
        self.network, self.judge, self.dataset, self.drawn, self.prior = network, judge, dataset, drawn, prior
        self.settings, self.seed, self.device, self.at_once = settings, seed, device, at_once
        self.resampling = Resampling(seed, settings.confidence_level, settings.bootstrap, "vae")
        self.mu, self.labels = drawn["posterior_means"], np.asarray(dataset.test.labels)
        # Several tasks use these: they are computed before tasks fork.
        self.real = RealImages(dataset, judge, len(drawn["samples"]))
        self.judged = judge(drawn["samples"])

    def numbers(self) -> dict:
        """Every number of the study, as estimates where there is an interval."""
        tasks = {
            "likelihood": self._likelihood,
            "reconstruction": self._reconstruction,
            "samples": self._samples,
            "fitted prior": self._fitted_prior,
            "interpolation": self._interpolation,
            "latents": self._latents,
        }
        return merged_results("evaluate_vae", tasks, self.at_once)

    def latents(self) -> pd.DataFrame:
        """The `class_table` of the test images."""
        return class_table(self.mu, self.labels, self.dataset.classes)

    def final_probabilities(self) -> np.ndarray:
        """(FINAL, classes) of the first samples, by the judge."""
        return self.judged.probabilities[:FINAL]

    def _likelihood(self) -> dict:
        """Bits per dimension under the calibrated, discretised Gaussian; and under the report's sigma of 1."""
        count, rows = self.settings.vae.likelihood_images, self.settings.batch_size
        train, test = (
            torch.cat(list(float_batches(split.images[:count], rows, self.device)))
            for split in (self.dataset.train, self.dataset.test)
        )
        sigma = calibrated_sigma(self.network, train, Draw(self.device, (self.seed, "vae", "calibration")), rows)
        likelihoods = {
            "": partial(discretised_gaussian_log_mass, sigma=sigma),
            "unit_variance_": partial(gaussian_log_density, sigma=1.0),
        }
        draw, samples = Draw(self.device, (self.seed, "vae", "importance")), self.settings.vae.importance_samples
        bounds = importance_weights(self.network, test, draw, samples, list(likelihoods.values()), rows)
        numbers: dict = {
            "likelihood": "Gaussian discretised to 8-bit levels, one sigma calibrated on training images",
            "calibrated_sigma": sigma,
        }
        for name, (elbo, weights) in zip(likelihoods, bounds, strict=True):
            iwae = iwae_bound(weights)
            for bound, nats in (("elbo", elbo), ("iwae", iwae)):
                bits = bits_per_dimension(nats, test[0].numel(), density=bool(name)).cpu().numpy()
                numbers[f"{name}{bound}_bpd"] = self.resampling.mean(bits)
        # The last likelihood is the report's own, here in its own unit.
        return numbers | {"unit_variance_iwae_nats": float(iwae.mean())}

    @torch.inference_mode()
    def _reconstruction(self) -> Numbers:
        """Error on [-1, 1] of test images decoded from the posterior mean, and the share that keeps its class."""
        size = self.settings.batch_size
        codes = torch.from_numpy(self.mu).to(self.device).split(size)
        errors, decoded = [], []
        for x, z in zip(float_batches(self.dataset.test.images, size, self.device), codes, strict=True):
            mean = self.network.decode(z)
            errors.append((x - mean).square().flatten(1).mean(dim=1).cpu())
            decoded.append(to_uint8(mean).cpu())
        same = self.judge(torch.cat(decoded).numpy()).classes() == self.labels
        return {
            "reconstruction_mse": self.resampling.mean(torch.cat(errors).numpy()),
            "reconstruction_same_class": self.real.classless or self.resampling.proportion(same),
        }

    def _samples(self) -> Numbers:
        return measure_generated(self.drawn["samples"], self.judged, self.real, self.settings, self.resampling)

    def _fitted_prior(self) -> dict[str, Numbers]:
        samples, resampling = self.drawn["fitted_samples"], replace(self.resampling, owner="vae fitted prior")
        numbers = measure_generated(samples, self.judge(samples), self.real, self.settings, resampling)
        return {"fitted_prior": {"components": len(self.prior.weights)} | {key: numbers[key] for key in COMPARED}}

    def _interpolation(self) -> Numbers:
        """Largest over mean step in the judge's features, along straight paths in latent space."""
        features = [self.judge(path).features for path in self.drawn["interpolations"]]
        evenness = step_evenness(np.stack(features)) if features else ()
        few = needs.images(len(evenness), 2, "paths between images along which anything changes")
        return {"interpolation_smoothness": few or self.resampling.mean(evenness)}

    def _latents(self) -> Numbers:
        return {
            "active_units": needs.images(len(self.mu), 2) or active_units(self.mu),
            "top_latents_share": needs.images_of_each_class(self.dataset, OF_A_CLASS) or self._top_share(),
        }

    def _top_share(self) -> Estimate | LeftOut:
        """The mean of `top_share` over classes; in its interval, over the classes of each resample."""
        mu, labels, stream = self.mu, self.labels, self.resampling.stream("latents")

        def share(mu: np.ndarray, labels: np.ndarray) -> float:
            shares = top_share(mu, labels, len(self.dataset.classes), TOP_LATENTS)
            finite = shares[np.isfinite(shares)]
            return float(finite.mean()) if len(finite) else np.nan

        resamples = (stream.integers(0, len(mu), len(mu)) for _ in range(self.resampling.draws))
        draws = np.array([share(mu[rows], labels[rows]) for rows in resamples])
        value, draws = share(mu, labels), draws[np.isfinite(draws)]
        if np.isnan(value) or not len(draws):
            return LeftOut("the mean latents of all classes are the same")
        return self.resampling.percentile(value, draws)
