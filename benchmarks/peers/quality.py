"""Sample quality after equal training time, ours and diffusers', each with its usual sampler.

Needs the outputs of `dvc repro classifier`: data/generative and models/classifier. Samples are compared with held-out
training images. Each time budget is a separate training, whose schedule ends with the budget.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.held_out import HELD_OUT, held_out
from benchmarks.peers.contestant import network_gflop, settings
from benchmarks.peers.ddpm import SIZE, Diffusers, Triptych, diffusers_network, least_width, triptych_network
from triptych.core.errors import InputError
from triptych.data.storage import load
from triptych.judge.measure import Judge
from triptych.machine.device import Machine
from triptych.measures.distributions import FrechetReference
from triptych.measures.images import to_uint8
from triptych.measures.intervals import Resampling
from triptych.params import Params
from triptych.training.objective import resident

DATA, CLASSIFIER = Path("data/generative"), Path("models/classifier")
MINUTES = (2, 4, 6)
PROBE_STEPS = 20

Learner = Triptych | Diffusers


def check() -> None:
    """Raise InputError if the images or the judge are missing, or the images are not 32x32 colour images."""
    for folder in (DATA, CLASSIFIER):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; --quality needs it, create it with `dvc repro classifier`")
    if load(DATA).train.images.shape[1:] != (3, SIZE, SIZE):
        raise InputError(f"{DATA}: --quality needs colour images with {SIZE} x {SIZE} pixels")


def trained(make: Callable[..., Learner], seconds: float, place: Machine) -> Learner:
    """Train a model for `seconds`. A short probe determines the number of steps."""
    probe = make()
    _step(probe, 2, place, float("inf"))
    steps = max(1, round(PROBE_STEPS * seconds / _step(probe, PROBE_STEPS, place, float("inf"))))
    learner = make(steps=steps)
    _step(learner, steps, place, seconds)
    return learner


def _step(learner: Learner, steps: int, place: Machine, most: float) -> float:
    """Make at most `steps` steps, starting none after `most` seconds, and return the seconds."""
    start = time.perf_counter()
    for _ in range(steps):
        if time.perf_counter() - start >= most:
            break
        learner.step()
    place.synchronise()
    return time.perf_counter() - start


def measure(params: Params, place: Machine) -> dict:
    """Return the Fréchet distance of ours and of diffusers with its interval, for each time budget."""
    dataset = load(DATA)
    images = resident(dataset.train.images, dataset.train.labels, place.device).images
    study, sampler = params.ddpm, params.sampling.ddpm.sampler
    gflop = network_gflop(triptych_network(study).to(place.device), place)
    width, _ = least_width(diffusers_network, gflop, place)
    learners = {
        "triptych": partial(Triptych, study, images, place, sampler=sampler.name),
        "diffusers": partial(Diffusers, width, images, study.training.batch_size, settings(place)[-1], place),
    }
    judge = Judge.load(CLASSIFIER, place.device, params.evaluation.batch_size)
    real = FrechetReference(judge(held_out(params)).features)
    resampling = Resampling(params.seed, params.evaluation.confidence_level, params.evaluation.bootstrap, "peers")

    def distance(make: Callable[..., Learner], minutes: float) -> dict[str, float]:
        samples = trained(make, 60 * minutes, place).sample(HELD_OUT, sampler.steps)
        return asdict(real.estimate(judge(to_uint8(samples).numpy()).features, resampling, "frechet"))

    found = {
        f"minutes_{minutes}": {name: distance(make, minutes) for name, make in learners.items()} for minutes in MINUTES
    }
    return {"network_calls": sampler.steps, "samples": HELD_OUT, **found}
