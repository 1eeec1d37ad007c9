"""Images noised to a time of the report's schedule, and restored by the trained diffusion model."""

import time
from collections.abc import Sequence
from pathlib import Path

from triptych.cli import pictures, trained
from triptych.cli.originals import originals
from triptych.cli.progress import Watched, bar
from triptych.core.errors import InputError
from triptych.core.schema import read
from triptych.ddpm.params import SamplingParams
from triptych.ddpm.sample import alpha_bars, restore, steps_for
from triptych.machine.device import machine
from triptych.machine.params import Runtime
from triptych.measures.similarity import psnr

PARTS = ("original", "noised", "restored")


def denoise(
    files: Sequence[Path], test: int | None, t: int, steps: int | None, out: str, seed: int | None, force: bool
) -> dict:
    """Writes images beside what the noise of time t makes of them, and what the ancestral sampler restores.

    Args:
        files: a user's own images; without any, test images are taken.
        test: how many test images, see `originals`.
        t: the time, from 1 to T of the linear schedule `sampling.ddpm.restoration.schedule`.
        steps: of the reverse run, and no more than t are made; None for as many as params.yaml says.
        out: where to, see `pictures.target`.
        seed: of the noise; None for that of params.yaml.
        force: whether files may be replaced.

    Returns:
        What was done: `written`, `model`, `images` with the name of each, and `psnr_noised` and `psnr_restored` in dB
        against the original; `t`, `sampler`, `steps`, `seed`, `seconds`.

    Raises:
        InputError: t is not on the schedule; or params, a model, an image or a place to write to is missing or wrong.
    """
    params = read(seed=int, runtime=Runtime, sampling=SamplingParams)
    how = params.sampling.ddpm.restoration
    if not 1 <= t <= how.schedule.steps:
        raise InputError(f"--t {t}: not on the report's schedule; allowed are 1 to {how.schedule.steps}")
    seed, level = params.seed if seed is None else seed, float(alpha_bars(how.schedule)[t])
    steps, size = steps_for(t, steps or how.steps), params.sampling.batch_size
    method = trained.ddpm()
    given = originals(files, test, trained.image_shape("ddpm"))
    count = len(given.images)
    target = pictures.target(out, pictures.numbered(count, PARTS), force)
    with (
        machine(params.runtime, announce=False) as place,
        bar("denoise", -(-count // size) * steps) as done,
        place.autocast(),
    ):
        clock = time.perf_counter()
        watched = Watched(method.to(place.device), done)
        pair = restore(watched, given.images, level, steps, seed, size, place.device)
        seconds = time.perf_counter() - clock
    together = pictures.beside(given.images, pair.noised, pair.restored)
    written = target.write(together, pictures.columns_for(count, parts=len(PARTS)))
    alike = zip(given.names, psnr(given.images, pair.noised), psnr(given.images, pair.restored), strict=True)
    images = [
        {"image": name, "psnr_noised": float(noised), "psnr_restored": float(restored)}
        for name, noised, restored in alike
    ]
    about = {"images": images, "t": t, "sampler": "ancestral", "steps": steps, "seed": seed}
    return {"written": written, "model": "models/ddpm", **about, "seconds": seconds}
