"""Measure a trained VAE: likelihood bounds, reconstructions, quality of samples, and the latent space."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from triptych.judge.generated import GenerativeMeasures, Numbers
from triptych.machine.randomness import Draw
from triptych.machine.tasks import merged_results
from triptych.measures import needs
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.images import float_batches, in_float64, to_uint8
from triptych.vae.model import VAE
from triptych.vae.objective import kl_to_standard_normal, reparameterise
from triptych.vae.prior import Mixture
from triptych.vae.sample import class_pairs

# Returns the elementwise log-probability of images (first argument), given the decoder's mean (second argument).
LogLikelihood = Callable[[Tensor, Tensor], Tensor]
TOP_LATENTS = 3  # latents of `top_latents_share`
LEAST_OF_A_CLASS = 5  # test images per class: the mean latents of fewer are mostly noise
# Burda et al. 2016 (arXiv:1509.00519), section 5: a unit is active when its mean moves by more than this over the data.
ACTIVE_VARIANCE = 0.01
SAME_MEANS = LeftOut("the posterior means, averaged per class, are the same for all classes")
LATENT_COLUMNS = ["class", "latent", "mean", "std", "share"]


# --- Likelihood ---


def log_normal(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the log-density of x under the Gaussian N(mean, diag(exp(log_var))) over the last dimension."""
    return -0.5 * ((x - mean).square() / log_var.exp() + log_var + math.log(2 * math.pi)).sum(dim=-1)


def gaussian_log_density(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Return the log-density of each element of x under N(mean, sigma²)."""
    return -0.5 * ((x - mean) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)


@torch.inference_mode()
def calibrated_sigma(network: VAE, images: Tensor, draw: Draw, batch_size: int) -> float:
    """Return the decoder's standard deviation sigma that maximises the likelihood of images in [-1, 1].

    The likelihood of an image x is N(x; decoder(z), sigma² I) for one sample z ~ q(z|x). The best sigma is the root
    mean squared error of decoder(z) (Rybkin et al. 2021, arXiv:2006.13202). `draw` supplies the random numbers for z.
    """
    mu, log_var = _posteriors(network, images, batch_size)
    # Drawn for all images at once, so that the noise of an image does not depend on the batch size.
    z = reparameterise(mu, log_var, draw.normal(tuple(mu.shape)))
    errors = [
        (block - network.decode(code)).square().flatten(1).mean(dim=1)
        for block, code in zip(images.split(batch_size), z.split(batch_size), strict=True)
    ]
    return float(in_float64(torch.cat(errors)).mean().sqrt())


@torch.inference_mode()
def importance_weights(
    network: VAE, images: Tensor, draw: Draw, samples: int, likelihoods: Sequence[LogLikelihood], rows: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the ELBO and the log importance weights of images x (N, C, H, W) in [-1, 1] for each likelihood p(x|z).

    K = `samples` values of z are drawn from q(z|x) for each image, and all likelihoods share these values. The network
    processes at most max(`rows`, K) images at once.

    Returns:
        One pair of tensors in nats per likelihood. The ELBO (N,) is the mean of log p(x|z) over z, minus
        KL(q(z|x) || p(z)). The log weights (N, K) are log w = log p(x|z) + log p(z) - log q(z|x).
    """
    elbos: list[list[Tensor]] = [[] for _ in likelihoods]
    weights: list[list[Tensor]] = [[] for _ in likelihoods]
    all_mu, all_log_var = _posteriors(network, images, rows)
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
    """Return the lower bound log(sum_k w_k / K) on log p(x) (Burda et al. 2016, eq. 8) from log weights (N, K)."""
    return in_float64(log_weights).logsumexp(dim=1) - math.log(log_weights.shape[1])


# --- The latent space. mu is the array of posterior means, (N, latents) ---


def active_units(mu: np.ndarray) -> int:
    """Return the number of latents with a variance above ACTIVE_VARIANCE in the posterior means `mu` (N, latents)."""
    return int((mu.var(axis=0) > ACTIVE_VARIANCE).sum())


def class_table(mu: np.ndarray, labels: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Return a table with statistics of the posterior means `mu` (N, latents) for each class and latent.

    The columns are class, latent, mean, std and share. `share` is the latent's fraction of the squared distance between
    the class mean and the overall mean. The table is empty if there are fewer than two classes.
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


def top_share(mu: np.ndarray, labels: np.ndarray, classes: int, top: int) -> float:
    """Return the fraction of the squared distance from a class mean to the overall mean that lies in `top` latents.

    For each class, the latents with the largest contributions are used. The fraction is averaged over the classes whose
    mean differs from the overall mean. If there are no such classes, the result is NaN.
    """
    overall, shares = mu.mean(axis=0), []
    for c in range(classes):
        members = mu[labels == c]
        if len(members) and (offset := np.square(members.mean(axis=0) - overall)).any():
            shares.append(np.sort(offset)[-top:].sum() / offset.sum())
    return float(np.array(shares, mu.dtype).mean()) if shares else math.nan


def step_evenness(features: np.ndarray) -> np.ndarray:
    """Return the ratio of the longest step to the mean step for each path in `features` (paths, points, d).

    The ratio is 1 if all steps have the same length, and NaN if all points of the path are equal.
    """
    steps = np.linalg.norm(np.diff(features, axis=1), axis=2)
    with np.errstate(invalid="ignore"):
        return steps.max(axis=1) / steps.mean(axis=1)


def cross_fades(pairs: np.ndarray, steps: int) -> np.ndarray:
    """Return linear fades (P, steps, C, H, W) between the two uint8 images of each pair in `pairs` (P, 2, C, H, W)."""
    share = np.linspace(0, 1, steps)[:, None, None, None]
    return np.rint(pairs[:, :1] * (1 - share) + pairs[:, 1:] * share).astype(np.uint8)


# --- The study ---


@dataclass(kw_only=True)
class VAEMeasures(GenerativeMeasures):
    """Metrics of a trained VAE: likelihood, reconstructions, samples, interpolations and latent space."""

    STUDY = "vae"
    network: VAE  # in eval mode on `device`
    prior: Mixture  # fitted to the aggregate posterior

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mu, self.labels = self.drawn["posterior_means"], np.asarray(self.dataset.test.labels)

    def numbers(self) -> dict:
        """Return a dict of all metrics. Metrics with a confidence interval are `Estimate` objects."""
        tasks = {
            "likelihood": self._likelihood,
            "reconstruction": self._reconstruction,
            "samples": self.samples,
            "fitted prior": self._fitted_prior,
            "interpolation": self._interpolation,
            "latents": self._latents,
        }
        return merged_results("evaluate_vae", tasks, self.at_once)

    def latents(self) -> pd.DataFrame:
        """Return the `class_table` of the test images: statistics of the posterior means per class and latent."""
        return class_table(self.mu, self.labels, self.dataset.classes)

    def _likelihood(self) -> dict:
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
        # The last bound is that of the report's Gaussian, which the report gives in nats.
        return numbers | {"unit_variance_iwae_nats": float(iwae.mean())}

    @torch.inference_mode()
    def _reconstruction(self) -> Numbers:
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

    def _fitted_prior(self) -> dict:
        numbers = {"components": len(self.prior.weights)} | self.other_samples("fitted_samples", "fitted prior")
        return {"fitted_prior": numbers}

    def _interpolation(self) -> Numbers:
        paths = self.drawn["interpolations"]
        pairs = self.real.images[class_pairs(self.labels, len(paths))]
        evenness, recognised = zip(*map(self._along, (paths, cross_fades(pairs, paths.shape[1]))), strict=True)
        inside = needs.images(paths.shape[1], 3, "images per path")
        changing = np.isfinite(evenness).all(axis=0)
        few = needs.images(int(changing.sum()), 2, "paths between images along which anything changes")
        numbers = {}
        for name, (vae, fade), missing in (
            ("smoothness", [values[changing] for values in evenness], few),
            ("recognised", recognised, few or self.real.classless or inside),
        ):
            values = {"interpolation": vae, "crossfade": fade, "interpolation_over_crossfade": vae - fade}
            numbers |= {f"{key}_{name}": missing or self.resampling.mean(each) for key, each in values.items()}
        return numbers

    def _along(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        judged = [self.judge(path) for path in paths]
        width = self.real.test.features.shape[1]
        features = np.array([path.features for path in judged]).reshape(*paths.shape[:2], width)
        recognised = [path.recognised(self.settings.recognition_threshold)[1:-1].mean() for path in judged]
        return step_evenness(features), np.array(recognised)

    def _latents(self) -> Numbers:
        return {
            "active_units": needs.images(len(self.mu), 2) or active_units(self.mu),
            "top_latents_share": needs.images_of_each_class(self.dataset, LEAST_OF_A_CLASS) or self._top_share(),
        } | self._share_by_chance()

    def _share_by_chance(self) -> Numbers:
        stream, latents = self.resampling.stream("chance"), self.mu.shape[1]
        value = top_share(self.mu, self.labels, len(self.dataset.classes), TOP_LATENTS)
        missing = needs.images_of_each_class(self.dataset, LEAST_OF_A_CLASS) or (
            SAME_MEANS if math.isnan(value) else None
        )
        numbers: Numbers = {}
        for name, changed in (
            ("shuffled", lambda: (self.mu, stream.permutation(self.labels))),
            ("rotated", lambda: (self.mu @ np.linalg.qr(stream.normal(size=(latents, latents)))[0], self.labels)),
        ):
            keys = f"top_latents_share_{name}", f"top_latents_over_{name}"
            if missing:
                numbers |= dict.fromkeys(keys, missing)
                continue
            repeats = (changed() for _ in range(self.resampling.draws))
            shares = np.array([top_share(*repeat, len(self.dataset.classes), TOP_LATENTS) for repeat in repeats])
            excess = self.resampling.percentile(value - shares.mean(), value - shares)
            numbers |= zip(keys, (float(shares.mean()), excess), strict=True)
        return numbers

    def _top_share(self) -> Estimate | LeftOut:
        classes, stream = len(self.dataset.classes), self.resampling.stream("latents")
        resamples = (stream.integers(0, len(self.mu), len(self.mu)) for _ in range(self.resampling.draws))
        draws = np.array([top_share(self.mu[rows], self.labels[rows], classes, TOP_LATENTS) for rows in resamples])
        value, draws = top_share(self.mu, self.labels, classes, TOP_LATENTS), draws[np.isfinite(draws)]
        if math.isnan(value) or not len(draws):
            return SAME_MEANS
        return self.resampling.percentile(value, draws)
