"""The commands of `triptych`: select profiles, run the pipeline, show results, and use trained models.

Commands import their modules only when they run, so that help appears quickly.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperArgument

import triptych
from triptych.core.errors import InputError, one_line_errors

INTERRUPTED = 130  # exit code of typer after Ctrl-C in a command
NAMED = 3  # files per reason that `features` names; --json names all


class OneLineTyper(typer.Typer):
    """A Typer app that reports incorrect usage and InputError as one line on stderr, and exits with code 2."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        with one_line_errors(interrupted="interrupted"):
            if sys.platform == "win32":
                raise InputError("triptych needs Linux or macOS; on Windows, use WSL")
            try:
                code = super().__call__(*args, standalone_mode=False, **kwargs)
            except typer.Abort:
                raise KeyboardInterrupt from None
            except typer.TyperException as error:
                raise InputError(f"{' '.join(error.format_message().split())} (see triptych --help)") from None
            if code == INTERRUPTED:
                raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
GROUP: dict[str, Any] = {"callback": _help, "invoke_without_command": True, **SETTINGS}
# Typer appends the Python type of an argument, such as <list[Path]>, to its name in the help.
TyperArgument.display_type_rich = lambda self, ctx: None  # type: ignore[method-assign]

app = OneLineTyper(add_completion=False, epilog="Example: triptych report", **SETTINGS)
profile_help = "List, select or check profiles.\n\nA profile is a named set of values for params.yaml."
profile = typer.Typer(help=profile_help, epilog="Example: triptych profile use smoke", **GROUP)
app.add_typer(profile, name="profile")
sample_help = "Generate images with the trained VAE or DDPM."
sample = typer.Typer(help=sample_help, epilog="Example: triptych sample ddpm --count 64 --out samples.png", **GROUP)
app.add_typer(sample, name="sample")


def _number(text: str, least: int = 1, default: bool | str = True, name: str = "N") -> Any:
    return Option(help=text, min=least, show_default=default, metavar=name)


def _text(text: str, name: str, default: bool | str = True) -> Any:
    return Option(help=text, show_default=default, metavar=name)


IN_PARAMS = "params.yaml"  # shown as the default
AsJson = Annotated[bool, Option("--json", help="Print one JSON document instead of text.")]
COUNT = "Number of images. With the same seed, a smaller N gives the first N images of a larger set."
Count = Annotated[int, _number(COUNT)]
EncoderName = Annotated[str, _text("Name of an encoder in models/ssl.", "NAME")]
Force = Annotated[bool, Option("--force", help="Replace existing files.")]
Layer = Annotated[
    Literal["backbone", "projector"],
    _text("Features to use: the output of the backbone or of the projector.", "backbone|projector"),
]
Out = Annotated[str, _text("Output: NAME.png for one contact sheet, or FOLDER/ for one file per image.", "PATH")]
OwnImages = Annotated[list[Path] | None, Argument(metavar="IMAGE", help="Image files of any size.")]
Prior = Literal["normal", "fitted"]
PRIORS = "normal|fitted"
GUIDED = "Guide the sampler with an earlier snapshot (autoguidance). Images are sharper but less diverse."
COMPARE = "Print only a comparison of the verdicts with those of the run archived in FOLDER, as Markdown."
SAMPLERS = "Sampler: ancestral, ddim, dpm_solver, sde_dpm_solver or heun."
Seed = Annotated[int | None, _number("Seed of the noise. The same seed gives the same images.", 0, IN_PARAMS)]
SeedRun = Annotated[int, _number("Index of the training run, from 0. There is one run per seed.", 0)]
TIME = "Diffusion time step, from 1 to the number of steps in the noise schedule. A larger T adds more noise."
Test = Annotated[int | None, _number("Use the first N test images instead of files.", 1, "8 without IMAGE")]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Run the pipeline, show its results, and use the trained models."""
    if version:
        typer.echo(f"triptych {triptych.__version__}")
        raise typer.Exit
    _help(context)


# --- profiles ---


@profile.command("list", epilog="Example: triptych profile list")
def profile_list() -> None:
    """List the profiles with the purpose of each.

    An asterisk marks the profile that params.yaml matches.
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
    force: Annotated[bool, Option("--force", help="Overwrite params.yaml even if it matches no profile.")] = False,
) -> None:
    """Write the values of a profile to params.yaml.

    If the profile is invalid, params.yaml is not changed.
    """
    from triptych.cli import profiles

    profiles.check(name)
    if profiles.PARAMS.exists() and not force and profiles.active() is None:
        raise InputError("params.yaml matches no profile, so its values would be lost; --force overwrites the file")
    profiles.use(name)
    typer.echo(f"params.yaml now contains profile {name}; `dvc params diff` shows what changed")


@profile.command("check", epilog="Example: triptych profile check profiles/smoke.yaml")
def profile_check(
    path: Annotated[Path, Argument(metavar="FILE", help="params.yaml or a file in profiles/.")] = Path("params.yaml"),
) -> None:
    """Check that the values in params.yaml or in a profile are valid."""
    from triptych import params as schema
    from triptych.cli import profiles

    if path.parent.resolve() == profiles.FOLDER.resolve():
        profiles.check(path.stem)
    else:
        schema.check(path)
    typer.echo(f"{path}: valid")


@profile.command("clean", epilog="Example: triptych profile clean")
def profile_clean() -> None:
    """Delete outputs of stages that are not in the current pipeline.

    Such outputs remain after a switch to a profile with fewer encoders. DVC can restore them from its cache.
    """
    from triptych.cli.leftovers import remove_leftovers

    deleted = remove_leftovers()
    typer.echo(f"deleted {_count(len(deleted), 'output')} of other profiles")


# --- pipeline, results and machine ---


@app.command(epilog="Example: triptych repro --jobs 2")
def repro(
    targets: Annotated[list[str] | None, Argument(metavar="STAGE", help="Stages to run, with those they need.")] = None,
    jobs: Annotated[int | None, _number("Number of stages to run at once.", 1, "number of CPUs")] = None,
    force: Annotated[bool, Option("--force", help="Run stages even if nothing changed.")] = False,
    dry: Annotated[bool, Option("--dry", help="Only print the stages that may run, and estimate the time.")] = False,
    launcher: Annotated[str, _text("Command to put before each stage, such as 'srun -c 4'.", "COMMAND", False)] = "",
) -> None:
    """Run the pipeline, with several stages at once.

    The results equal those of `dvc repro`, which runs one stage at a time. The log of each stage is in logs/.
    """
    from triptych.cli import jobs as running
    from triptych.report.formatting import duration

    stages, at_once = running.stale_stages(targets or [], force), jobs or running.usable_cpus()
    if not stages:
        typer.echo("Data and pipelines are up to date.")
    elif dry:
        typer.echo("\n".join(stage.name for stage in stages))
        estimate = duration(running.seconds_left(stages, {}, at_once))
        typer.echo(f"about {estimate} with --jobs {at_once}, by the times in metrics/clock", err=True)
    else:
        running.run_stages(stages, at_once, force, launcher)


@app.command(epilog="Example: triptych report --json | jq .metrics")
def report(
    as_json: AsJson = False,
    as_markdown: Annotated[bool, Option("--markdown", help="Print only the metrics, as Markdown.")] = False,
    compare: Annotated[Path | None, _text(COMPARE, "FOLDER")] = None,
    time: Annotated[bool, Option("--time", help="Print only the time of each stage, as Markdown.")] = False,
) -> None:
    """Print the results of the stages that have run.

    The default output has metrics, confidence intervals, verdicts on claims, training times and the path of the page.
    """
    from triptych.page import tables, terminal, verdicts
    from triptych.report.reader import Results

    results = Results()
    if compare:
        typer.echo(verdicts.verdicts_table({"here": results, compare.name: Results(compare)}).markdown())
    elif time:
        typer.echo(tables.time_markdown(results), nl=False)
    elif as_json:
        typer.echo(json.dumps(terminal.document(results), indent=2, ensure_ascii=False))
    elif as_markdown:
        terminal.document(results)  # an error if there are no results yet
        typer.echo(tables.results_markdown(results), nl=False)
    else:
        terminal.show(results)


@app.command(epilog="Example: triptych collapse")
def collapse() -> None:
    """Compare SimSiam with and without stop-gradient.

    Print accuracy, embedding std, effective rank and a verdict, and draw the training curves to plots/collapse.png.
    """
    from triptych.cli.collapse import PICTURE, compare
    from triptych.page.terminal import show_table
    from triptych.report.reader import Results

    table, verdict = compare(Results())
    show_table(table)
    typer.echo(f"{verdict}\ncurves: {PICTURE}")


@app.command(epilog="Example: triptych archive docs/real --without-data")
def archive(
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Destination folder. An existing archive is replaced.")],
    without_data: Annotated[bool, Option("--without-data", help="Omit figures that mainly show the dataset.")] = False,
    force: Annotated[bool, Option("--force", help="Replace results in FOLDER even if it is not an archive.")] = False,
) -> None:
    """Copy the results of this project to a folder.

    FOLDER then contains metrics, tables, params.yaml and the HTML page. Its run.json records the machine and commit.
    """
    from triptych.cli.doctor import machine
    from triptych.page.build import archive as write
    from triptych.report.reader import Results

    files = write(Results(), folder, machine(), with_data=not without_data, force=force)
    typer.echo(f"{folder}: {len(files)} files, including {folder / 'plots/report.html'}")


HARDWARE = ("python", "platform", "cpus", "device", "threads", "bfloat16")


@app.command(epilog="Example: triptych doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Describe this machine and this project.

    The output lists the device, threads, package versions, any problems with params.yaml and the datasets, and the time
    of the pipeline on some machines.
    """
    from triptych.cli.doctor import examine
    from triptych.report.formatting import written

    state = examine()
    params = state["params"]
    rows = {
        **{key: written(state[key]) for key in HARDWARE},
        "free disk": f"{state['free_disk_gib']} GiB",
        **{name: version or "not installed" for name, version in state["versions"].items()},
        **{name: "on PATH" if there else "not on PATH" for name, there in state["tools"].items() if name != "dvc"},
        params["path"]: params["problem"] or f"valid, profile: {params['profile'] or 'none (own values)'}",
        **{f"data {name}": data for name, data in state["data"].items()},
    }
    table = [
        "\nTime of the pipeline from nothing, measured:",
        f"{'machine':<45}{'make repro':<12}make full after it",
        *(f"{name:<45}{times['make repro']:<12}{times['make full']}" for name, times in state["machines"].items()),
    ]
    _print(as_json, state, *(f"{name:<14} {value}" for name, value in rows.items()), *table)


# --- trained generative models ---


@sample.command("vae", epilog="Example: triptych sample vae --count 16 --prior fitted --out drawn/")
def sample_vae(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    prior: Annotated[Prior, _text("Prior: N(0, I), or the mixture fitted by stage sample@vae.", PRIORS)] = "normal",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Generate images with the trained VAE and save them as PNG."""
    from triptych.cli import generative, images

    output = images.output(out, count, force=force)
    result = generative.sample_vae(count, seed, prior)
    text = f"{_count(count, 'sample')} of the VAE, {prior} prior, seed {result.about['seed']}"
    _write(output, result, as_json, text)


@sample.command("ddpm", epilog="Example: triptych sample ddpm --count 16 --seed 3 --guided --json")
def sample_ddpm(
    count: Count = 64,
    out: Out = "samples.png",
    seed: Seed = None,
    sampler: Annotated[str | None, _text(SAMPLERS, "NAME", IN_PARAMS)] = None,
    steps: Annotated[int | None, _number("Number of sampler steps.", 1, IN_PARAMS)] = None,
    guided: Annotated[bool, Option("--guided", help=GUIDED)] = False,
    guidance_weight: Annotated[
        float | None, _number("Guidance weight; 1 disables guidance. Implies --guided.", 1, IN_PARAMS, "W")
    ] = None,
    guidance_epoch: Annotated[
        int | None, _number("Epoch of the snapshot used for guidance. Implies --guided.", 1, IN_PARAMS)
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Generate images with the trained DDPM and save them as PNG."""
    from triptych.cli import generative, images

    output = images.output(out, count, force=force)
    guidance = {"guided": guided, "guidance_weight": guidance_weight, "guidance_epoch": guidance_epoch}
    result = generative.sample_ddpm(count, seed, sampler, steps, **guidance)
    about = result.about
    text = f"{_count(count, 'sample')} of the diffusion model, {about['sampler']} with {_count(about['steps'], 'step')}"
    if about["guidance_epoch"]:
        text += f", guided by epoch {about['guidance_epoch']} with weight {about['guidance_weight']:g}"
    _write(output, result, as_json, f"{text}, seed {about['seed']}")


@app.command(epilog="Example: triptych reconstruct photo.png drawing.jpg --out compared.png")
def reconstruct(
    image: OwnImages = None,
    test: Test = None,
    out: Out = "reconstructions.png",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Reconstruct images with the trained VAE.

    On a contact sheet, each image is next to its reconstruction.
    """
    from triptych.cli import generative, images

    given = generative.given_images("vae", image or [], test)
    output = images.output(out, len(given.names), ("original", "reconstruction"), force)
    result = generative.reconstruct(given)
    text = f"{_count(len(given.names), 'image')} next to the reconstruction, PSNR {result.mean('psnr'):.1f} dB"
    _write(output, result, as_json, text)


@app.command(epilog="Example: triptych interpolate photo.png drawing.jpg --steps 10")
def interpolate(
    image: Annotated[list[Path] | None, Argument(metavar="IMAGE", help="Two image files.")] = None,
    steps: Annotated[int | None, _number("Number of images, including the endpoints.", 2, IN_PARAMS)] = None,
    out: Out = "interpolation.png",
    seed: Annotated[int | None, _number("Seed of the random endpoints.", 0, IN_PARAMS)] = None,
    prior: Annotated[Prior | None, _text("Prior of the random endpoints.", PRIORS, "normal")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Interpolate between two points in the latent space of the VAE.

    The endpoints are the latents of two images. Without IMAGE, they are drawn from the prior.
    """
    from triptych.cli import generative, images

    steps = steps or generative.read_params().sampling.vae.interpolation_steps
    ends = generative.given_images("vae", image) if image else None
    output = images.output(out, steps, force=force, columns=steps)
    result = generative.interpolate(ends, steps, seed, prior)
    about = result.about
    between = " and ".join(about["between"] or ()) or f"two points of the {about['prior']} prior, seed {about['seed']}"
    _write(output, result, as_json, f"{steps} images between {between}")


@app.command(epilog="Example: triptych denoise --t 120 photo.png")
def denoise(
    image: OwnImages = None,
    t: Annotated[int, Option("--t", metavar="T", help=TIME)] = 120,
    test: Test = None,
    steps: Annotated[int | None, _number("Number of denoising steps, at most T.", 1, IN_PARAMS)] = None,
    out: Out = "denoised.png",
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Add noise to images and remove the noise with the trained DDPM.

    On a contact sheet, each image is next to its noised and restored versions.
    """
    from triptych.cli import generative, images

    given = generative.given_images("ddpm", image or [], test)
    output = images.output(out, len(given.names), ("original", "noised", "restored"), force)
    result = generative.denoise(given, t, steps, seed)
    about = result.about
    text = (
        f"{_count(len(given.names), 'image')}, noised to t = {t}, PSNR {result.mean('psnr_noised'):.1f} dB, and "
        f"restored in {_count(about['steps'], 'step')}, {result.mean('psnr_restored'):.1f} dB, seed {about['seed']}"
    )
    _write(output, result, as_json, text)


def _write(output: Any, result: Any, as_json: bool, text: str) -> None:
    files = output.write(*result.groups.values())
    written = files[0] if len(files) == 1 else f"{files[0]} to {Path(files[-1]).name}"
    _print(as_json, {"written": files, **result.about}, f"{written}: {text}; {result.about['seconds']:.1f} s")


def _print(as_json: bool, document: dict[str, Any], *lines: str) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


# --- trained encoders, export ---


@app.command(epilog="Example: triptych features images/ --encoder simsiam --out features.parquet")
def features(
    images: Annotated[list[Path], Argument(metavar="PATH", help="Image files, or folders of images.")],
    out: Annotated[Path, Option(metavar="FILE", help="Output file: .parquet, .csv or .npz.")],
    encoder: EncoderName = "simsiam",
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compute features of images with a trained encoder.

    Each image is rotated upright according to its EXIF data, cropped to a central square, and resized. The output file
    contains the path and the features of each image.
    """
    from triptych.cli import encoders
    from triptych.cli.images import check_output

    check_output(out, force, encoders.ENDINGS)
    table = encoders.features(encoders.load_encoder(encoder, seed_run), images, layer)
    encoders.write_features(out, table)
    count, size = table.values.shape
    about = {"encoder": encoder, "seed_run": seed_run, "layer": layer, "out": str(out), "images": count, "size": size}
    lines = [f"{out}: {size} features of {_count(count, 'image')}"]
    for reason, files in table.skipped.items():
        more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
        lines.append(f"skipped {_count(len(files), 'file')}, {reason}: {', '.join(files[:NAMED])}{more}")
    _print(as_json, about | {"skipped": table.skipped}, *lines)


@app.command(epilog="Example: triptych neighbours image.png --encoder simsiam")
def neighbours(
    image: Annotated[Path, Argument(metavar="IMAGE", help="Query image.")],
    encoder: EncoderName = "simsiam",
    out: Annotated[Path, _text("Output picture (.png).", "FILE")] = Path("neighbours.png"),
    count: Annotated[int, _number("Number of neighbours to show.")] = 8,
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the training images that are most similar to an image.

    Images are compared by the cosine similarity of the encoder's features. The output picture shows the image, followed
    by its neighbours, the most similar first.
    """
    from triptych.cli import encoders
    from triptych.cli.images import check_output, write_png

    check_output(out, force, (".png",))
    shown, nearest = encoders.neighbours(encoders.load_encoder(encoder, seed_run), image, count, layer)
    write_png(out, encoders.neighbours_picture(shown))
    about = {"encoder": encoder, "seed_run": seed_run, "layer": layer, "image": str(image), "out": str(out)}
    lines = [
        f"{entry['similarity']:.4f}  training image {entry['index']}  {entry['label'] or ''}".rstrip()
        for entry in nearest
    ]
    _print(as_json, about | {"neighbours": nearest}, *lines, f"picture: {out}")


@app.command(epilog="Example: triptych export ssl/simsiam exported/simsiam")
def export(
    model: Annotated[str, Argument(metavar="MODEL", help="classifier, vae, ddpm, or ssl/NAME for the encoder NAME.")],
    folder: Annotated[Path, Argument(metavar="FOLDER", help="Destination: a new or empty folder.")],
    seed_run: SeedRun = 0,
    as_json: AsJson = False,
) -> None:
    """Export a trained model as ONNX and safetensors files.

    FOLDER can be uploaded to the Hugging Face Hub. It contains a model card (README.md), weights
    (model.safetensors) and a config (config.json). It also contains ONNX files that accept any batch size:

    \b
    classifier  classifier.onnx
    vae         encoder.onnx, decoder.onnx
    ddpm        denoiser.onnx
    ssl/NAME    encoder.onnx

    For the DDPM, FOLDER also contains a scheduler config for the diffusers library, but not a complete pipeline.
    """
    from triptych.cli.export import export as write

    files = write(model, folder, seed_run)
    about = {"model": model, "seed_run": seed_run, "folder": str(folder), "files": files}
    _print(as_json, about, f"{folder}: {', '.join(files)}")
