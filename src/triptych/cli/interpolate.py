"""A straight line through the latent space of the trained VAE, between two images or two random points."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.cli import pictures, trained
from triptych.cli.originals import originals
from triptych.cli.sample import prior_points
from triptych.core.errors import InputError
from triptych.core.schema import read
from triptych.machine.device import machine
from triptych.machine.params import Runtime
from triptych.vae.params import SamplingParams
from triptych.vae.sample import Codec, interpolation_paths


def interpolate(
    files: Sequence[Path], steps: int | None, out: str, seed: int | None, prior: str | None, force: bool
) -> dict:
    """Writes the images along a line, both ends included.

    Args:
        files: two images of a user's own, whose reconstructions are the ends; or none, for two random points.
        steps: how many images, 2 at least; None for as many as params.yaml says.
        out: where to, see `pictures.target`.
        seed: of the random points, which are the first two samples of that seed; None for that of params.yaml.
        prior: of the random points, `normal` or `fitted`; None for `normal`.
        force: whether files may be replaced.

    Returns:
        What was done: `written`, `model`, `between`, the two images or None, `prior` and `seed` of random points, else
        None, `steps`, `seconds`.

    Raises:
        InputError: one image, or more than two; a seed or a prior beside images; or params, a model, a prior, an image
            or a place to write to is missing or wrong.
    """
    if len(files) not in (0, 2):
        raise InputError(f"interpolate: {len(files)} images; give two, or none for two random points")
    if files and (seed is not None or prior is not None):
        raise InputError("interpolate: --seed and --prior choose random points; between two images there are none")
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    how, network = params.sampling.vae, trained.vae()
    steps = steps or how.interpolation_steps
    given = originals(files, None, trained.image_shape("vae")) if files else None
    if not files:
        prior, seed = prior or "normal", params.seed if seed is None else seed
        ends = prior_points(prior, 2, network.mu.out_features, seed)
    target = pictures.target(out, pictures.numbered(steps), force)
    with machine(params.runtime, announce=False) as place:
        clock = time.perf_counter()
        codec = Codec(network.to(place.device), place.device, params.sampling.batch_size)
        if given:
            ends = codec.encode(given.images)
        path = interpolation_paths(ends, labels=np.arange(2), pairs=1, steps=steps)[0]
        images = codec.decode(path)
        seconds = time.perf_counter() - clock
    written = target.write(images, columns=steps)
    about = {"between": given.names if given else None, "prior": prior, "seed": seed, "steps": steps}
    return {"written": written, "model": "models/vae", **about, "seconds": seconds}
