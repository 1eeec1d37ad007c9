"""Images through the trained VAE and back: encoded to the mean of q(z|x), and decoded."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from triptych.cli import pictures, trained
from triptych.cli.originals import originals
from triptych.cli.progress import bar
from triptych.core.schema import read
from triptych.machine.device import machine
from triptych.machine.params import Runtime
from triptych.measures.similarity import psnr
from triptych.vae.params import SamplingParams
from triptych.vae.sample import Codec


def reconstruct(files: Sequence[Path], test: int | None, out: str, force: bool) -> dict:
    """Writes images beside their reconstructions.

    Args:
        files: a user's own images; without any, test images are taken.
        test: how many test images, see `originals`.
        out: where to, see `pictures.target`.
        force: whether files may be replaced.

    Returns:
        What was done: `written`, `model`, `images` with the name and the `psnr` in dB of each, `seconds`.

    Raises:
        InputError: params, a model, an image or a place to write to is missing or wrong.
    """
    params = read(runtime=Runtime, sampling=SamplingParams)
    network = trained.vae()
    given = originals(files, test, trained.image_shape("vae"))
    count, size = len(given.images), params.sampling.batch_size
    target = pictures.target(out, pictures.numbered(count, ("original", "reconstruction")), force)
    with machine(params.runtime, announce=False) as place, bar("reconstruct", count) as done:
        clock = time.perf_counter()
        codec, parts = Codec(network.to(place.device), place.device, size), []
        for start in range(0, count, size):
            parts.append(codec.decode(codec.encode(given.images[start : start + size])))
            done.update(len(parts[-1]))
        seconds = time.perf_counter() - clock
    restored = np.concatenate(parts)
    written = target.write(pictures.beside(given.images, restored), pictures.columns_for(count, parts=2))
    alike = psnr(given.images, restored)
    images = [{"image": name, "psnr": float(decibels)} for name, decibels in zip(given.names, alike, strict=True)]
    return {"written": written, "model": "models/vae", "images": images, "seconds": seconds}
