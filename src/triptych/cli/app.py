"""`triptych`: switching profiles, the results so far, what this machine has, and trained models put to use.

Only typer is imported before a command is known, so that help and completion answer at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych.cli import encoder_commands as encoders
from triptych.cli import generative_commands as generative
from triptych.cli.options import AsJson
from triptych.core.errors import InputError, one_line_errors

INTERRUPTED = 130


class OneLineTyper(typer.Typer):
    """A typer app whose errors, those of usage included, are one line on stderr and exit code 2."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Runs the command line and exits."""
        with one_line_errors(interrupted="interrupted"):
            try:
                code = super().__call__(*args, standalone_mode=False, **kwargs)
            except typer.Abort:
                raise KeyboardInterrupt from None
            except typer.BadParameter.__mro__[1] as error:  # click's UsageError, which typer does not export
                raise InputError(f"{' '.join(error.format_message().split())} (see triptych --help)") from None
            if code == INTERRUPTED:  # typer's answer to Ctrl-C once a command runs
                raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)


SETTINGS = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
app = OneLineTyper(add_completion=False, epilog="Example: triptych report", **SETTINGS)
profile = typer.Typer(epilog="Example: triptych profile use smoke", **SETTINGS)
app.add_typer(profile, name="profile")
sample = typer.Typer(epilog="Example: triptych sample ddpm --count 64 --out samples.png", **SETTINGS)
app.add_typer(sample, name="sample")


def _help_if_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Three studies of learning without labels, in one reproducible pipeline."""
    _help_if_alone(context)


@profile.callback(invoke_without_command=True)
def profile_main(context: typer.Context) -> None:
    """List, switch or check the sets of numbers in params.yaml."""
    _help_if_alone(context)


@sample.callback(invoke_without_command=True)
def sample_main(context: typer.Context) -> None:
    """Draw images from the trained VAE or diffusion model."""
    _help_if_alone(context)


@profile.command("list", epilog="Example: triptych profile list")
def profile_list() -> None:
    """The profiles, what each is for, and which one params.yaml holds."""
    from triptych.cli import profiles

    names = profiles.names()
    current = profiles.active() if profiles.PARAMS.exists() else None
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{'*' if name == current else ' '} {name:<{width}}  {profiles.purpose(name)}")
    if current is None:
        typer.echo("params.yaml holds numbers of its own")


@profile.command("use", epilog="Example: triptych profile use smoke && dvc params diff")
def profile_use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A profile of `triptych profile list`.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite edits of params.yaml.")] = False,
) -> None:
    """Make params.yaml the profile NAME; a wrong profile leaves it as it was."""
    from triptych.cli import profiles

    tree = profiles.check(name)
    if profiles.PARAMS.exists() and not force and profiles.active() is None:
        raise InputError(
            "params.yaml holds numbers of its own, in no profile: keep a copy if you want them, then add --force"
        )
    profiles.use(name)
    changed = profiles.differences(profiles.default_tree(), tree)
    count = f": {len(changed)} keys differ from {profiles.DEFAULT}; `dvc params diff` shows them" if changed else ""
    typer.echo(f"params.yaml now holds profile {name}{count}")


@profile.command("check", epilog="Example: triptych profile check profiles/smoke.yaml")
def profile_check(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="A params file, or an overlay in profiles/.")] = Path(
        "params.yaml"
    ),
) -> None:
    """Check a params file, or a profile, against the schema."""
    from triptych import params as schema
    from triptych.cli import profiles

    if path.parent.resolve() == profiles.FOLDER.resolve():
        profiles.check(path.stem)
    else:
        schema.check(path)
    typer.echo(f"{path}: valid")


@app.command(epilog="Example: triptych report --json | jq .metrics")
def report(
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table of results.")] = False,
    beside: Annotated[
        Path | None, typer.Option(help="Folder of another run: print the verdicts of both as a table of Markdown.")
    ] = None,
    time: Annotated[bool, typer.Option("--time", help="Print where the time went as a table of Markdown.")] = False,
) -> None:
    """The results so far: numbers with intervals, verdicts, seconds by stage, and where the page is."""
    from triptych.page import tables, terminal, time_spent, verdicts
    from triptych.report.reader import Results

    results = Results()
    if beside:
        typer.echo(verdicts.verdicts_table({"here": results, beside.name: Results(beside)}).markdown())
        return
    if time:
        typer.echo(time_spent.time_markdown(results), nl=False)
        return
    found = terminal.document(results)
    if as_markdown:
        typer.echo(tables.results_markdown(results), nl=False)
    elif as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        terminal.show(results, terminal.console())


@app.command(epilog="Example: triptych archive docs/real --without-data")
def archive(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; an earlier run's results are replaced.")],
    without_data: Annotated[
        bool, typer.Option("--without-data", help="Leave out pictures that show many images of the dataset.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace FOLDER/metrics and FOLDER/plots even if FOLDER is no archive.")
    ] = False,
) -> None:
    """Keep this run's numbers, tables, params and page in FOLDER, and on what machine and commit it ran."""
    from triptych.cli.doctor import machine
    from triptych.page.archive import archive as write
    from triptych.report.reader import Results

    files = write(Results(), folder, machine(), with_data=not without_data, force=force)
    typer.echo(f"{folder}: {len(files)} files, {folder / 'plots/report.html'} among them")


@app.command(epilog="Example: triptych doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """What this machine and checkout have: device, threads, versions, params.yaml and data."""
    from triptych.cli.doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key in ("python", "platform", "cpus", "device", "threads", "free_disk_gib"):
        typer.echo(f"{key.replace('_', ' '):<14} {found[key]}")
    for name, number in found["versions"].items():
        typer.echo(f"{name:<14} {number or 'not installed'}")
    for name, there in found["tools"].items():
        typer.echo(f"{name:<14} {'found' if there else 'not on PATH'}")
    params = found["params"]
    typer.echo(
        f"{params['path']:<14} {params['problem'] or 'valid, profile: ' + (params['profile'] or 'none, own numbers')}"
    )
    for name, state in found["data"].items():
        typer.echo(f"{'data ' + name:<14} {state}")


# --- trained models put to use ---
sample.command("vae", epilog="Example: triptych sample vae --count 16 --prior fitted --out drawn/")(
    generative.sample_vae
)
sample.command("ddpm", epilog="Example: triptych sample ddpm --count 16 --seed 3 --guided --json")(
    generative.sample_ddpm
)
app.command(epilog="Example: triptych reconstruct photo.png drawing.jpg --out beside.png")(generative.reconstruct)
app.command(epilog="Example: triptych interpolate photo.png drawing.jpg --steps 10")(generative.interpolate)
app.command(epilog="Example: triptych denoise --t 120 photo.png")(generative.denoise)
app.command(epilog="Example: triptych features images/ --encoder simsiam --out features.parquet")(encoders.features)
app.command(epilog="Example: triptych neighbours image.png --encoder simsiam")(encoders.neighbours)
app.command(epilog="Example: triptych export ssl/simsiam exported/simsiam")(encoders.export)
