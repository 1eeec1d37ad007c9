"""The VAE study's numbers, tables and images, from a trained VAE, the judge and the dataset."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.core.files import write_json, write_text
from triptych.core.model_files import load_weights
from triptych.core.randomness import Draw, generator
from triptych.data.batches import to_float, to_uint8
from triptych.data.storage import Dataset
from triptych.measures.discretised import bits_per_dimension, discretised_gaussian_log_mass
from triptych.measures.frechet import frechet_distance, frechet_interval
from triptych.measures.judge import Judge, Verdicts
from triptych.measures.latents import active_units, class_table, step_evenness, top_share
from triptych.measures.likelihood import calibrated_sigma, gaussian_log_density, importance_weights, iwae_bound
from triptych.measures.params import EvaluationParams
from triptych.measures.parts import gather
from triptych.measures.sharpness import sharpness
from triptych.statistics.intervals import generator as bootstrap_generator
from triptych.statistics.intervals import mean_interval, percentile_interval, proportion_interval, ratio_interval
from triptych.vae.network import VAE
from triptych.vae.params import VAEEvaluation

SHOWN = 64  # images of a sample sheet
RECONSTRUCTED = 32  # test images of a reconstruction sheet
FINAL = 5  # single samples at the end
INTERPOLATION_ROWS = 3
TOP_LATENTS = 3
TRAVERSED = 8  # latents


@dataclass(frozen=True)
class Settings:
    """How to measure: the pipeline's seed, the study's settings and the shared ones."""

    seed: int
    study: VAEEvaluation
    shared: EvaluationParams


class VAEStudy:
    """Measures one VAE. Test images stay on the CPU as uint8 and visit the device in batches."""

    def __init__(self, network: VAE, judge: Judge, dataset: Dataset, settings: Settings, device: torch.device) -> None:
        self.network, self.judge, self.dataset = network, judge, dataset
        self.settings, self.device = settings, device

    def measure(self, metrics: Path, tables: Path) -> None:
        """Writes the metrics file, and `latents.csv` into the folder of tables."""
        parts = {
            "likelihood": self._likelihood,
            "reconstruction": self._reconstruction,
            "generation": self._generation,
            "sharpness": self._sharpness,
            "interpolation": self._interpolation,
            "latents": self._latents,
        }
        numbers, intervals = gather("evaluate_vae", parts)
        write_json(metrics, numbers | {"intervals": intervals})
        table = class_table(self._mu, np.asarray(self.dataset.test.labels), self.dataset.classes)
        write_text(tables / "latents.csv", table.to_csv(index=False))

    def draw(self, images: Path, snapshots: Path) -> None:
        """Writes the images of the figures, after each snapshot epoch and at the end, as uint8 arrays in one .npz."""
        originals = self.dataset.test.images[:RECONSTRUCTED]
        arrays = {"originals": np.array(originals)}
        weights = {int(path.stem.split("_")[1]): path for path in sorted(snapshots.glob("epoch_*.safetensors"))}
        final = self.network.state_dict()
        final = {name: tensor.clone() for name, tensor in final.items()}
        for epoch, path in weights.items():
            load_weights(path, self.network)
            arrays[f"samples_{epoch}"] = self._sample(SHOWN)
            arrays[f"reconstructions_{epoch}"] = self._reconstruct(originals)
        self.network.load_state_dict(final)
        arrays["last_samples"] = self._sample(SHOWN)
        arrays["final_samples"] = arrays["last_samples"][:FINAL]
        arrays["final_probabilities"] = self.judge(arrays["final_samples"]).probabilities
        paths = self._paths()[:INTERPOLATION_ROWS]
        arrays["interpolations"] = np.stack([self._decode(path) for path in paths])
        arrays |= self._traversals()
        images.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(images, allow_pickle=False, **arrays)

    def _traversals(self) -> dict[str, np.ndarray]:
        """Decoded paths along the latents that carry most, around the first test image."""
        # Under a standard normal prior, a latent whose mean varies most over the data holds most information.
        strongest = np.argsort(-self._mu.var(axis=0))[:TRAVERSED]
        values = np.linspace(-3, 3, self.settings.study.interpolation_steps, dtype=np.float32)
        paths = np.repeat(np.repeat(self._mu[:1, None], len(strongest), axis=0), len(values), axis=1)
        for row, latent in enumerate(strongest):
            paths[row, :, latent] = values
        return {"traversals": np.stack([self._decode(path) for path in paths]), "traversed": strongest}

    # The network on many images ---------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means (N, latents) of uint8 images."""
        blocks = self._blocks(images)
        return torch.cat([self.network.encode(block)[0].cpu() for block in blocks]).numpy()

    @torch.inference_mode()
    def _decode(self, z: np.ndarray | Tensor) -> np.ndarray:
        """Means of p(x|z) as uint8 (N, C, H, W) from (N, latents)."""
        blocks = torch.as_tensor(z).to(self.device).split(self.settings.shared.batch_size)
        return torch.cat([to_uint8(self.network.decode(block)).cpu() for block in blocks]).numpy()

    def _reconstruct(self, images: np.ndarray) -> np.ndarray:
        return self._decode(self._encode(images))

    def _sample(self, count: int) -> np.ndarray:
        """Decoded draws of the prior: the first `count` of one fixed stream, so that every sheet shows the same z."""
        z = torch.randn(count, self.network.mu.out_features, generator=generator("cpu", self.settings.seed, "samples"))
        return self._decode(z)

    def _blocks(self, images: np.ndarray) -> list[Tensor]:
        size = self.settings.shared.batch_size
        starts = range(0, len(images), size)
        return [to_float(torch.from_numpy(np.array(images[s : s + size])).to(self.device)) for s in starts]

    # The measurements -------------------------------------------------------------------------------------------------

    def _likelihood(self) -> dict:
        """Bits per dimension under the calibrated, discretised Gaussian; and under the report's sigma of 1."""
        study, shared = self.settings.study, self.settings.shared
        train = torch.cat(self._blocks(self.dataset.train.images[: study.likelihood_images]))
        test = torch.cat(self._blocks(self.dataset.test.images[: study.likelihood_images]))
        sigma = calibrated_sigma(self.network, train, self._noise("calibration"), shared.batch_size)
        dimensions = test[0].numel()
        out: dict = {
            "likelihood": "Gaussian discretised to 8-bit levels, one sigma calibrated on training images",
            "calibrated_sigma": sigma,
            "intervals": {},
        }
        likelihoods = {
            "": partial(discretised_gaussian_log_mass, sigma=sigma),
            "unit_variance_": partial(gaussian_log_density, sigma=1.0),
        }
        found = importance_weights(
            self.network,
            test,
            self._noise("importance"),
            study.importance_samples,
            list(likelihoods.values()),
            rows=shared.batch_size,
        )
        for name, (elbo, weights) in zip(likelihoods, found, strict=True):
            iwae = iwae_bound(weights)
            for bound, nats in (("elbo", elbo), ("iwae", iwae)):
                bits = bits_per_dimension(nats, dimensions, density=bool(name)).cpu().numpy()
                out[f"{name}{bound}_bpd"] = float(bits.mean())
                out["intervals"][f"{name}{bound}_bpd"] = self._mean_interval(bits, f"{name}{bound}")
        # The last is the report's own likelihood, in its own unit.
        out["unit_variance_iwae_nats"] = float(iwae.mean())
        return out

    @torch.inference_mode()
    def _reconstruction(self) -> dict:
        """Error on [-1, 1] of test images decoded from the posterior mean, and whether their class stays."""
        errors = []
        for block in self._blocks(self.dataset.test.images):
            mean = self.network.decode(self.network.encode(block)[0])
            errors.append((block - mean).square().flatten(1).mean(dim=1).cpu())
        error = torch.cat(errors).numpy()
        same = self.judge(self._decode(self._mu)).classes() == np.asarray(self.dataset.test.labels)
        return {
            "reconstruction_mse": float(error.mean()),
            "reconstruction_same_class": float(same.mean()),
            "intervals": {
                "reconstruction_mse": self._mean_interval(error, "mse"),
                "reconstruction_same_class": proportion_interval(same, self.settings.shared.confidence_level),
            },
        }

    def _generation(self) -> dict:
        """Fréchet distance and recognisability of samples, with the values of real images beside them."""
        shared = self.settings.shared
        real, drawn = self._real, self.judge(self._samples)
        train = self.judge(self.dataset.train.images[: len(real.features)])
        recognised = drawn.recognised(shared.recognition_threshold)
        rng = bootstrap_generator(self.settings.seed, "vae frechet")
        return {
            "frechet_distance": frechet_distance(drawn.features, real.features),
            "frechet_floor": frechet_distance(train.features, real.features),
            "recognisability": float(recognised.mean()),
            "real_recognisability": float(real.recognised(shared.recognition_threshold).mean()),
            "intervals": {
                "frechet_distance": frechet_interval(
                    drawn.features, real.features, shared.confidence_level, shared.bootstrap, rng
                ),
                "recognisability": proportion_interval(recognised, shared.confidence_level),
            },
        }

    def _sharpness(self) -> dict:
        """Sharpness of samples over that of real images."""
        shared = self.settings.shared
        drawn, real = sharpness(self._samples), sharpness(np.asarray(self.dataset.test.images))
        rng = bootstrap_generator(self.settings.seed, "vae sharpness")
        interval = ratio_interval(drawn, real, shared.confidence_level, shared.bootstrap, rng)
        return {"sharpness_ratio": float(drawn.mean() / real.mean()), "intervals": {"sharpness_ratio": interval}}

    def _interpolation(self) -> dict:
        """Largest over mean step in the judge's features, along straight paths in latent space."""
        paths = self._paths()
        features = np.stack([self.judge(self._decode(path)).features for path in paths])
        evenness = step_evenness(features)
        return {
            "interpolation_smoothness": float(evenness.mean()),
            "intervals": {"interpolation_smoothness": self._mean_interval(evenness, "interpolation")},
        }

    def _paths(self) -> np.ndarray:
        """(pairs, steps, latents) between posterior means of test images of different class, the first such pairs."""
        mu, labels = self._mu, np.asarray(self.dataset.test.labels)
        half = len(mu) // 2
        differ = np.flatnonzero(labels[:half] != labels[half : 2 * half])[: self.settings.study.interpolation_pairs]
        share = np.linspace(0, 1, self.settings.study.interpolation_steps, dtype=np.float32)[None, :, None]
        return mu[differ, None] * (1 - share) + mu[half + differ, None] * share

    def _latents(self) -> dict:
        """How many latents are used, and how much of a class the strongest few carry."""
        shared, mu = self.settings.shared, self._mu
        labels, classes = np.asarray(self.dataset.test.labels), len(self.dataset.classes)
        rng = bootstrap_generator(self.settings.seed, "vae latents")
        resamples = (rng.integers(0, len(mu), len(mu)) for _ in range(shared.bootstrap))
        draws = [top_share(mu[rows], labels[rows], classes, TOP_LATENTS).mean() for rows in resamples]
        return {
            "active_units": active_units(mu),
            "top_latents_share": float(top_share(mu, labels, classes, TOP_LATENTS).mean()),
            "intervals": {"top_latents_share": percentile_interval(np.array(draws), shared.confidence_level)},
        }

    @cached_property
    def _mu(self) -> np.ndarray:
        """Posterior means of the test images, (N, latents)."""
        return self._encode(self.dataset.test.images)

    @cached_property
    def _samples(self) -> np.ndarray:
        return self._sample(self.settings.study.samples)

    @cached_property
    def _real(self) -> Verdicts:
        return self.judge(self.dataset.test.images)

    def _noise(self, purpose: str) -> Draw:
        return Draw(self.device, (self.settings.seed, "vae", purpose))

    def _mean_interval(self, values: np.ndarray, purpose: str) -> dict[str, float]:
        shared = self.settings.shared
        rng = bootstrap_generator(self.settings.seed, f"vae {purpose}")
        return mean_interval(values, shared.confidence_level, shared.bootstrap, rng)
