"""What only the VAE is asked: bounds on the likelihood, reconstructions, and its latent space."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch

from triptych.data.storage import Dataset
from triptych.judge.generated import COMPARED, Numbers, RealImages, measure_generated
from triptych.judge.measure import Judge, Judged
from triptych.machine.processes import merged
from triptych.machine.randomness import Draw
from triptych.measures import needs
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.estimate import Estimate, LeftOut
from triptych.measures.intervals import Resampling
from triptych.measures.params import EvaluationParams
from triptych.training.objective import to_uint8
from triptych.vae.latents import active_units, class_table, step_evenness, top_share
from triptych.vae.likelihood import calibrated_sigma, gaussian_log_density, importance_weights, iwae_bound
from triptych.vae.model import VAE
from triptych.vae.prior import Mixture
from triptych.vae.sample import batches

FINAL = 5  # samples that the report shows one by one
TOP_LATENTS = 3
OF_A_CLASS = 5  # test images, at least: the mean latents of fewer are their noise more than their class


@dataclass(frozen=True)
class VAEMeasures:
    """Measures one VAE.

    Attributes:
        network: the trained one, on `device`.
        judge: sees images.
        dataset: what the network was trained on.
        drawn: what was drawn from it, see `triptych.vae.sample.draw`.
        prior: the mixture that was fitted to its aggregate posterior.
        settings: how to measure.
        seed: of the noise and the resamples.
        device: where to compute.
        at_once: how many parts are measured side by side, on a CPU.
    """

    network: VAE
    judge: Judge
    dataset: Dataset
    drawn: Mapping[str, np.ndarray]
    prior: Mixture
    settings: EvaluationParams
    seed: int
    device: torch.device
    at_once: int = 1

    def numbers(self) -> dict:
        """Every number of the study, estimates where there is an interval."""
        parts = {
            "likelihood": self._likelihood,
            "reconstruction": self._reconstruction,
            "samples": self._samples,
            "fitted prior": self._fitted_prior,
            "interpolation": self._interpolation,
            "latents": self._latents,
        }
        self._real, self._judged  # noqa: B018 - what several parts need is made once, before the copies
        return merged("evaluate_vae", parts, self.at_once)

    def latents(self) -> pd.DataFrame:
        """What each latent says of each class; see `class_table`."""
        return class_table(self._mu, self._labels, self.dataset.classes)

    def final_probabilities(self) -> np.ndarray:
        """(FINAL, classes) of the first samples, by the judge."""
        return self._judged.probabilities[:FINAL]

    def _likelihood(self) -> dict:
        """Bits per dimension under the calibrated, discretised Gaussian; and under the report's sigma of 1."""
        count, rows = self.settings.vae.likelihood_images, self.settings.batch_size
        train, test = (
            torch.cat(list(batches(split.images[:count], rows, self.device)))
            for split in (self.dataset.train, self.dataset.test)
        )
        sigma = calibrated_sigma(self.network, train, self._noise("calibration"), rows)
        likelihoods = {
            "": partial(discretised_gaussian_log_mass, sigma=sigma),
            "unit_variance_": partial(gaussian_log_density, sigma=1.0),
        }
        found = importance_weights(
            self.network,
            test,
            self._noise("importance"),
            self.settings.vae.importance_samples,
            list(likelihoods.values()),
            rows=rows,
        )
        numbers: dict = {
            "likelihood": "Gaussian discretised to 8-bit levels, one sigma calibrated on training images",
            "calibrated_sigma": sigma,
        }
        for name, (elbo, weights) in zip(likelihoods, found, strict=True):
            iwae = iwae_bound(weights)
            for bound, nats in (("elbo", elbo), ("iwae", iwae)):
                bits = bits_per_dimension(nats, test[0].numel(), density=bool(name)).cpu().numpy()
                numbers[f"{name}{bound}_bpd"] = self._resampling.mean(bits)
        # The last is the report's own likelihood, in its own unit.
        return numbers | {"unit_variance_iwae_nats": float(iwae.mean())}

    @torch.inference_mode()
    def _reconstruction(self) -> Numbers:
        """Error on [-1, 1] of test images decoded from the posterior mean, and whether their class stays."""
        size = self.settings.batch_size
        codes = torch.from_numpy(self._mu).to(self.device).split(size)
        errors, decoded = [], []
        for x, z in zip(batches(self.dataset.test.images, size, self.device), codes, strict=True):
            mean = self.network.decode(z)
            errors.append((x - mean).square().flatten(1).mean(dim=1).cpu())
            decoded.append(to_uint8(mean).cpu())
        same = self.judge(torch.cat(decoded).numpy()).classes() == self._labels
        return {
            "reconstruction_mse": self._resampling.mean(torch.cat(errors).numpy()),
            "reconstruction_same_class": self._real.classless or self._resampling.proportion(same),
        }

    def _samples(self) -> Numbers:
        """What every generative study is asked, of samples from N(0, I)."""
        return measure_generated(self.drawn["samples"], self._judged, self._real, self.settings, self._resampling)

    def _fitted_prior(self) -> dict[str, Numbers]:
        """The same decoder's samples from the fitted prior."""
        samples = self.drawn["fitted_samples"]
        resampling = replace(self._resampling, owner="vae fitted prior")
        found = measure_generated(samples, self.judge(samples), self._real, self.settings, resampling)
        return {"fitted_prior": {"components": len(self.prior.weights)} | {key: found[key] for key in COMPARED}}

    def _interpolation(self) -> Numbers:
        """Largest over mean step in the judge's features, along straight paths in latent space."""
        features = [self.judge(path).features for path in self.drawn["interpolations"]]
        evenness = step_evenness(np.stack(features)) if features else ()
        few = needs.images(len(evenness), 2, "paths between images along which anything changes")
        return {"interpolation_smoothness": few or self._resampling.mean(evenness)}

    def _latents(self) -> Numbers:
        """How many latents are used, and how much of a class the strongest few carry."""
        return {
            "active_units": needs.images(len(self._mu), 2) or active_units(self._mu),
            "top_latents_share": needs.images_of_each_class(self.dataset, OF_A_CLASS) or self._top_share(),
        }

    def _top_share(self) -> Estimate | LeftOut:
        """The mean over classes; over those that a resample holds, in its interval."""
        mu, labels, stream = self._mu, self._labels, self._resampling.stream("latents")

        def share(mu: np.ndarray, labels: np.ndarray) -> float:
            shares = top_share(mu, labels, len(self.dataset.classes), TOP_LATENTS)
            there = shares[np.isfinite(shares)]
            return float(there.mean()) if len(there) else np.nan

        resamples = (stream.integers(0, len(mu), len(mu)) for _ in range(self._resampling.draws))
        draws = np.array([share(mu[rows], labels[rows]) for rows in resamples])
        value, draws = share(mu, labels), draws[np.isfinite(draws)]
        if np.isnan(value) or not len(draws):
            return LeftOut("the mean latents of all classes are the same")
        return self._resampling.percentile(value, draws)

    @property
    def _mu(self) -> np.ndarray:
        """Posterior means of the test images, (N, latents)."""
        return self.drawn["posterior_means"]

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.asarray(self.dataset.test.labels)

    @cached_property
    def _judged(self) -> Judged:
        return self.judge(self.drawn["samples"])

    @cached_property
    def _real(self) -> RealImages:
        return RealImages(self.dataset, self.judge, len(self.drawn["samples"]))

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling(self.seed, self.settings.confidence_level, self.settings.bootstrap, "vae")

    def _noise(self, purpose: str) -> Draw:
        return Draw(self.device, (self.seed, "vae", purpose))
