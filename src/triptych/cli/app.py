"""The commands of `triptych`: profiles, results, the state of this machine, and use of trained models.

Only typer is imported before a command is known, so that help and completion are fast.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

import triptych
from triptych.core.errors import InputError, one_line_errors

INTERRUPTED = 130
NAMED = 3  # files per reason that `features` names; --json names all


class OneLineTyper(typer.Typer):
    """A typer app that reports every error, wrong usage included, as one line on stderr with exit code 2."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run the command line and exit."""
        with one_line_errors(interrupted="interrupted"):
            try:
                code = super().__call__(*args, standalone_mode=False, **kwargs)
            except typer.Abort:
                raise KeyboardInterrupt from None
            except typer.TyperException as error:
                raise InputError(f"{' '.join(error.format_message().split())} (see triptych --help)") from None
            if code == INTERRUPTED:  # typer's answer to Ctrl-C once a command runs
                raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)


SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
app = OneLineTyper(add_completion=False, epilog="Example: triptych report", **SETTINGS)
profile = typer.Typer(epilog="Example: triptych profile use smoke", **SETTINGS)
app.add_typer(profile, name="profile")
sample = typer.Typer(epilog="Example: triptych sample ddpm --count 64 --out samples.png", **SETTINGS)
app.add_typer(sample, name="sample")

AsJson = Annotated[bool, Option("--json", help="Print one JSON document, for scripts.")]
Count = Annotated[int, Option(min=1, help="Number of images. A smaller count gives the first images of a larger one.")]
EncoderName = Annotated[str, Option(metavar="NAME", help="Name of an encoder in models/ssl.")]
Force = Annotated[bool, Option("--force", help="Replace existing files.")]
Layer = Annotated[
    Literal["backbone", "projector"], Option(help="Features to use: backbone output or projector output.")
]
Out = Annotated[str, Option(help="NAME.png writes one contact sheet, DIR/ one file per image.")]
OwnImages = Annotated[list[Path] | None, Argument(metavar="IMAGE", help="Your image files, of any size.")]
Prior = Literal["normal", "fitted"]
Seed = Annotated[
    int | None, Option(min=0, help="Seed of the noise. The same seed gives the same images.  [default: params.yaml]")
]
SeedRun = Annotated[int, Option(min=0, help="Index of the training run (one per seed), from 0.")]
Test = Annotated[
    int | None, Option(min=1, help="Use the first N test images.  [default: 8 if no IMAGE is given]", metavar="N")
]


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Three studies of learning without labels, in one reproducible pipeline."""
    if version:
        typer.echo(f"triptych {triptych.__version__}")
        raise typer.Exit
    _help_without_command(context)


# --- profiles ---


@profile.callback(invoke_without_command=True)
def profile_main(context: typer.Context) -> None:
    """List, select or check profiles, which are sets of values for params.yaml."""
    _help_without_command(context)


@profile.command("list", epilog="Example: triptych profile list")
def profile_list() -> None:
    """List the profiles.

    A * marks the profile in params.yaml.
    """
    from triptych.cli import profiles

    names = profiles.names()
    current = profiles.active() if profiles.PARAMS.exists() else None
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{'*' if name == current else ' '} {name:<{width}}  {profiles.purpose(name)}")
    if current is None:
        typer.echo("params.yaml matches no profile")


@profile.command("use", epilog="Example: triptych profile use smoke && dvc params diff")
def profile_use(
    name: Annotated[str, Argument(metavar="NAME", help="Name of a profile; see `triptych profile list`.")],
    force: Annotated[bool, Option("--force", help="Overwrite changes made to params.yaml.")] = False,
) -> None:
    """Write the profile NAME to params.yaml. An invalid profile leaves params.yaml unchanged."""
    from triptych.cli import profiles

    profiles.check(name)
    if profiles.PARAMS.exists() and not force and profiles.active() is None:
        raise InputError("params.yaml has edits that are in no profile: keep a copy if you need them, then add --force")
    profiles.use(name)
    typer.echo(f"params.yaml now holds profile {name}; `dvc params diff` shows what changed")


@profile.command("check", epilog="Example: triptych profile check profiles/smoke.yaml")
def profile_check(
    path: Annotated[Path, Argument(metavar="[PATH]", help="A params file or a profile.")] = Path("params.yaml"),
) -> None:
    """Check a params file or a profile against the schema."""
    from triptych import params as schema
    from triptych.cli import profiles

    if path.parent.resolve() == profiles.FOLDER.resolve():
        profiles.check(path.stem)
    else:
        schema.check(path)
    typer.echo(f"{path}: valid")


# --- results and machine ---


@app.command(epilog="Example: triptych report --json | jq .metrics")
def report(
    as_json: AsJson = False,
    as_markdown: Annotated[bool, Option("--markdown", help="Print the README's table of results.")] = False,
    beside: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Another run's folder: print both runs' verdicts as Markdown."),
    ] = None,
    time: Annotated[bool, Option("--time", help="Print the time of each stage as a Markdown table.")] = False,
) -> None:
    """Print the results so far.

    The output has metrics with intervals, verdicts, seconds per stage, and the path of the HTML page.
    """
    from triptych.page import tables, terminal, time_spent, verdicts
    from triptych.report.reader import Results

    results = Results()
    if beside:
        typer.echo(verdicts.verdicts_table({"here": results, beside.name: Results(beside)}).markdown())
        return
    if time:
        typer.echo(time_spent.time_markdown(results), nl=False)
        return
    document = terminal.document(results)
    if as_markdown:
        typer.echo(tables.results_markdown(results), nl=False)
    elif as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        terminal.show(results, terminal.console())


@app.command(epilog="Example: triptych archive docs/real --without-data")
def archive(
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Destination. An archive in it is replaced.")],
    without_data: Annotated[bool, Option("--without-data", help="Omit pictures of many images.")] = False,
    force: Annotated[bool, Option("--force", help="Replace metrics/ and plots/ in any FOLDER.")] = False,
) -> None:
    """Copy this run's results to FOLDER.

    The copy contains metrics, tables, params.yaml, the HTML page, and a record of the machine and commit.
    """
    from triptych.cli.doctor import machine
    from triptych.page.archive import archive as write
    from triptych.report.reader import Results

    files = write(Results(), folder, machine(), with_data=not without_data, force=force)
    typer.echo(f"{folder}: {len(files)} files, {folder / 'plots/report.html'} among them")


@app.command(epilog="Example: triptych doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Print the state of this machine and checkout.

    It lists device, threads, versions, and problems of params.yaml and data.
    """
    from triptych.cli.doctor import examine

    state = examine()
    if as_json:
        typer.echo(json.dumps(state, indent=2))
        return
    params = state["params"]
    rows = {
        **{key.replace("_", " "): state[key] for key in ("python", "platform", "cpus", "device", "threads")},
        "free disk": f"{state['free_disk_gib']} GiB",
        **{name: version or "not installed" for name, version in state["versions"].items()},
        **{name: "on PATH" if there else "not on PATH" for name, there in state["tools"].items() if name != "dvc"},
        params["path"]: params["problem"] or f"valid, profile: {params['profile'] or 'none, own numbers'}",
        **{f"data {name}": data for name, data in state["data"].items()},
    }
    for name, value in rows.items():
        typer.echo(f"{name:<14} {value}")


# --- trained generative models ---


@sample.callback(invoke_without_command=True)
def sample_main(context: typer.Context) -> None:
    """Draw images from the trained VAE or diffusion model."""
    _help_without_command(context)


@sample.command("vae", epilog="Example: triptych sample vae --count 16 --prior fitted --out drawn/")
def sample_vae(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    prior: Annotated[Prior, Option(help="Prior: N(0, I), or the mixture fitted by stage sample@vae.")] = "normal",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw images from the trained VAE."""
    from triptych.cli import generative, images

    output = images.output(out, count, force=force)
    result = generative.sample_vae(count, seed, prior)
    text = f"{_count(count, 'sample')} of the VAE, {prior} prior, seed {result.about['seed']}"
    _print(output.write(*result.groups.values()), result.about, as_json, text)


@sample.command("ddpm", epilog="Example: triptych sample ddpm --count 16 --seed 3 --guided --json")
def sample_ddpm(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    sampler: Annotated[
        str | None, Option(help="ancestral, ddim, dpm_solver, sde_dpm_solver or heun.  [default: params.yaml]")
    ] = None,
    steps: Annotated[int | None, Option(min=1, help="Number of sampler steps.  [default: params.yaml]")] = None,
    guided: Annotated[
        bool, Option("--guided", help="Autoguidance with an earlier snapshot: sharper, less diverse.")
    ] = False,
    guidance_weight: Annotated[
        float | None, Option(min=1, help="Guidance weight; implies --guided. 1 disables it.  [default: params.yaml]")
    ] = None,
    guidance_epoch: Annotated[
        int | None, Option(min=1, help="Epoch of the snapshot; implies --guided.  [default: params.yaml]")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw images from the trained diffusion model."""
    from triptych.cli import generative, images

    options = generative.DDPMOptions(
        sampler=sampler, steps=steps, guided=guided, guidance_weight=guidance_weight, guidance_epoch=guidance_epoch
    )
    output = images.output(out, count, force=force)
    result = generative.sample_ddpm(count, seed, options)
    about = result.about
    text = f"{_count(count, 'sample')} of the diffusion model, {about['sampler']} with {_count(about['steps'], 'step')}"
    if about["guidance_epoch"]:
        text += f", guided by epoch {about['guidance_epoch']} with weight {about['guidance_weight']:g}"
    _print(output.write(*result.groups.values()), about, as_json, f"{text}, seed {about['seed']}")


@app.command(epilog="Example: triptych reconstruct photo.png drawing.jpg --out beside.png")
def reconstruct(
    image: OwnImages = None,
    test: Test = None,
    out: Out = "reconstructions.png",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Encode and decode images with the VAE.

    Each image is written next to its reconstruction.
    """
    from triptych.cli import generative, images

    given = generative.given_images("vae", image or [], test)
    output = images.output(out, len(given.names), ("original", "reconstruction"), force)
    result = generative.reconstruct(given)
    text = f"{_count(len(given.names), 'image')} next to the reconstruction, PSNR {_mean(result.about, 'psnr'):.1f} dB"
    _print(output.write(*result.groups.values()), result.about, as_json, text)


@app.command(epilog="Example: triptych interpolate photo.png drawing.jpg --steps 10")
def interpolate(
    image: Annotated[list[Path] | None, Argument(metavar="IMAGE IMAGE", help="Two image files.")] = None,
    steps: Annotated[
        int | None, Option(min=2, help="Number of images, both ends included.  [default: params.yaml]")
    ] = None,
    out: Out = "interpolation.png",
    seed: Annotated[int | None, Option(min=0, help="Seed of the random endpoints.  [default: params.yaml]")] = None,
    prior: Annotated[
        Prior | None, Option(help="Prior of the random endpoints.  [default: normal]", show_default=False)
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Interpolate in the VAE's latent space.

    The endpoints are two of your images, or two random latent points without IMAGE arguments.
    """
    from triptych.cli import generative, images

    steps = steps or generative.read_params().sampling.vae.interpolation_steps
    ends = generative.given_images("vae", image) if image else None
    output = images.output(out, steps, force=force, columns=steps)
    result = generative.interpolate(ends, steps, seed, prior)
    about = result.about
    between = " and ".join(about["between"] or ()) or f"two points of the {about['prior']} prior, seed {about['seed']}"
    _print(output.write(*result.groups.values()), about, as_json, f"{steps} images between {between}")


@app.command(epilog="Example: triptych denoise --t 120 photo.png")
def denoise(
    image: OwnImages = None,
    t: Annotated[int, Option("--t", help="Diffusion time to which noise is added, from 1. Larger is noisier.")] = 120,
    test: Test = None,
    steps: Annotated[
        int | None, Option(min=1, help="Steps of the reverse process (at most t).  [default: params.yaml]")
    ] = None,
    out: Out = "denoised.png",
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Noise images and restore them with the DDPM.

    Each original is written next to the image noised to time t and the restored image.
    """
    from triptych.cli import generative, images

    given = generative.given_images("ddpm", image or [], test)
    output = images.output(out, len(given.names), ("original", "noised", "restored"), force)
    result = generative.denoise(given, t, steps, seed)
    about = result.about
    text = (
        f"{_count(len(given.names), 'image')}, noised to t = {t}, PSNR {_mean(about, 'psnr_noised'):.1f} dB, and "
        f"restored in {_count(about['steps'], 'step')}, {_mean(about, 'psnr_restored'):.1f} dB, seed {about['seed']}"
    )
    _print(output.write(*result.groups.values()), about, as_json, text)


def _print(files: list[str], about: dict[str, Any], as_json: bool, text: str) -> None:
    """Print the files and what they show, as a JSON document or in one line."""
    if as_json:
        typer.echo(json.dumps({"written": files, **about}, indent=2, ensure_ascii=False))
        return
    written = files[0] if len(files) == 1 else f"{files[0]} to {Path(files[-1]).name}"
    typer.echo(f"{written}: {text}; {about['seconds']:.1f} s")


def _mean(about: dict[str, Any], key: str) -> float:
    return sum(image[key] for image in about["images"]) / len(about["images"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


# --- trained encoders, export ---


@app.command(epilog="Example: triptych features images/ --encoder simsiam --out features.parquet")
def features(
    images: Annotated[list[Path], Argument(metavar="IMAGES", help="Image files, and folders of images.")],
    out: Annotated[Path, Option(metavar="FILE", help="Output file (.parquet, .csv or .npz).")],
    encoder: EncoderName = "simsiam",
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute an encoder's features of your images.

    The table has one row per image with the columns path, f0, f1, … Images are read as the pipeline reads a folder:
    upright, cropped to a square in the centre, resized.
    """
    from triptych.cli import encoders
    from triptych.cli.images import check_output

    check_output(out, force, encoders.ENDINGS)
    table = encoders.features(encoders.load_encoder(encoder, seed_run), images, layer)
    encoders.write_features(out, table)
    count, size = table.values.shape
    if as_json:
        about = {"encoder": encoder, "seed_run": seed_run, "layer": layer, "out": str(out), "images": count}
        typer.echo(json.dumps({**about, "size": size, "left_out": table.left_out}))
        return
    typer.echo(f"{out}: {size} features of {count:,} {'image' if count == 1 else 'images'}")
    for reason, files in table.left_out.items():
        more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
        typer.echo(f"left out: {len(files):,}, {reason}: {', '.join(files[:NAMED])}{more}")


@app.command(epilog="Example: triptych neighbours image.png --encoder simsiam")
def neighbours(
    image: Annotated[Path, Argument(metavar="IMAGE", help="Query image.")],
    encoder: EncoderName = "simsiam",
    out: Annotated[Path, Option(metavar="FILE", help="Output picture (.png).")] = Path("neighbours.png"),
    count: Annotated[int, Option(min=1, help="Number of neighbours to show.")] = 8,
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the training images nearest to an image.

    Images are compared by the cosine similarity of an encoder's features. The picture shows the image and then its
    neighbours, in the order of the printed table."""
    from triptych.cli import encoders
    from triptych.cli.images import check_output, write_png

    check_output(out, force, (".png",))
    shown, nearest = encoders.neighbours(encoders.load_encoder(encoder, seed_run), image, count, layer)
    write_png(out, encoders.neighbours_picture(shown))
    if as_json:
        about = {"encoder": encoder, "seed_run": seed_run, "layer": layer, "image": str(image), "out": str(out)}
        typer.echo(json.dumps({**about, "neighbours": [vars(neighbour) for neighbour in nearest]}))
        return
    for neighbour in nearest:
        typer.echo(f"{neighbour.similarity:.4f}  training image {neighbour.index}  {neighbour.label or ''}".rstrip())
    typer.echo(f"picture: {out}")


@app.command(epilog="Example: triptych export ssl/simsiam exported/simsiam")
def export(
    model: Annotated[str, Argument(metavar="MODEL", help="classifier, vae, ddpm, or ssl/NAME for the encoder NAME.")],
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Destination: a new or empty folder.")],
    seed_run: SeedRun = 0,
    as_json: AsJson = False,
) -> None:
    """Export a trained model for other programs.

    The folder suits the Hugging Face hub. It holds a model card (README.md), the state dict (model.safetensors),
    config.json, and ONNX files for any batch size: encoder.onnx of an encoder, encoder.onnx and decoder.onnx of the
    VAE, classifier.onnx, denoiser.onnx of the DDPM. The DDPM's network is not one of diffusers', so the folder is no
    diffusers pipeline; its noise levels are written as the config of a diffusers scheduler.
    """
    from triptych.cli.export import export as write

    files = write(model, folder, seed_run)
    if as_json:
        typer.echo(json.dumps({"model": model, "seed_run": seed_run, "folder": str(folder), "files": files}))
        return
    typer.echo(f"{folder}: {', '.join(files)}")
