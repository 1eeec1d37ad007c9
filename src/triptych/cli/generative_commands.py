"""The VAE and the diffusion model put to use: `sample`, `reconstruct`, `interpolate`, `denoise`.

What a command does lies in the module of `use` with its name, which is imported when the command is known.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import AsJson, Force

Count = Annotated[int, typer.Option(min=1, help="Images; fewer are the first of more.")]
Out = Annotated[str, typer.Option(help="A sheet, NAME.png; or with a slash at its end a folder, a file an image.")]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the noise; equal seeds, equal images.  [default: params.yaml]")
]
Own = Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help="Your own, of any size and form.")]
Test = Annotated[int | None, typer.Option(min=1, help="The first so many test images.  [default: 8, without an IMAGE]")]


def sample_vae(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    prior: Annotated[str, typer.Option(help="normal, or fitted: after the training, by sample@vae.")] = "normal",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw images from the trained VAE."""
    from triptych.cli.sample import from_vae

    done = from_vae(count, out, seed, prior, force)
    _tell(done, as_json, f"{_count(count, 'sample')} of the VAE, {prior} prior, seed {done['seed']}")


def sample_ddpm(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ancestral, ddim, dpm_solver, sde_dpm_solver or heun.  [default: params.yaml]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the sampler.  [default: params.yaml]")] = None,
    guided: Annotated[
        bool, typer.Option("--guided", help="By an earlier self, as params.yaml says: clearer, and less varied.")
    ] = False,
    guidance_weight: Annotated[
        float | None, typer.Option(min=1, help="Guided, and that much; 1 is not at all.  [default: params.yaml]")
    ] = None,
    guidance_epoch: Annotated[
        int | None, typer.Option(min=1, help="Guided, by the self after that epoch.  [default: params.yaml]")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw images from the trained diffusion model."""
    from triptych.cli.sample import from_ddpm

    done = from_ddpm(count, out, seed, sampler, steps, guided, guidance_weight, guidance_epoch, force)
    guidance = f", guided by epoch {done['guidance_epoch']} with weight {done['guidance_weight']:g}"
    how = f"{done['sampler']} of {_count(done['steps'], 'step')}{guidance if done['guidance_epoch'] else ''}"
    _tell(done, as_json, f"{_count(count, 'sample')} of the diffusion model, {how}, seed {done['seed']}")


def reconstruct(
    images: Own = None,
    test: Test = None,
    out: Out = "reconstructions.png",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Encode and decode images by the trained VAE: yours or test images, originals beside reconstructions."""
    from triptych.cli.reconstruct import reconstruct as run

    done = run(images or [], test, out, force)
    alike = _mean(done, "psnr")
    _tell(done, as_json, f"{_count(len(done['images']), 'image')} beside the reconstruction, PSNR {alike:.1f} dB")


def interpolate(
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE IMAGE", help="Your own two.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Images on the line, with both ends.  [default: params.yaml]")
    ] = None,
    out: Out = "interpolation.png",
    seed: Annotated[int | None, typer.Option(min=0, help="Of two random points.  [default: params.yaml]")] = None,
    prior: Annotated[
        str | None, typer.Option(help="Of two random points: normal or fitted.  [default: normal]")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Go in a straight line through the VAE's latents, between two images of yours or two random points."""
    from triptych.cli.interpolate import interpolate as run

    done = run(images or [], steps, out, seed, prior, force)
    between = " and ".join(done["between"] or ()) or f"two points of the {done['prior']} prior, seed {done['seed']}"
    _tell(done, as_json, f"{done['steps']} images between {between}")


def denoise(
    images: Own = None,
    t: Annotated[int, typer.Option("--t", help="Time on the report's schedule, from 1; later is noisier.")] = 120,
    test: Test = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the way back, t at most.  [default: params.yaml]")
    ] = None,
    out: Out = "denoised.png",
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Noise images to time t and restore them by the diffusion model: original, noised and restored side by side."""
    from triptych.cli.denoise import denoise as run

    done = run(images or [], test, t, steps, out, seed, force)
    before, after = _mean(done, "psnr_noised"), _mean(done, "psnr_restored")
    told = f"noised to t = {t}, PSNR {before:.1f} dB, and restored in {_count(done['steps'], 'step')}, {after:.1f} dB"
    _tell(done, as_json, f"{_count(len(done['images']), 'image')}, {told}, seed {done['seed']}")


def _tell(done: dict, as_json: bool, what: str) -> None:
    """What was done: as one JSON document, or in one line that begins with where it lies."""
    files = done["written"]
    where = files[0] if len(files) == 1 else f"{files[0]} to {Path(files[-1]).name}"
    line = f"{where}: {what}; {done['seconds']:.1f} s"
    typer.echo(json.dumps(done, indent=2, ensure_ascii=False) if as_json else line)


def _mean(done: dict, key: str) -> float:
    """Of a number that each image has."""
    return sum(image[key] for image in done["images"]) / len(done["images"])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
