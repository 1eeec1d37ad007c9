"""The commands on trained encoders, features and nearest training images; and the export of any model."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from triptych.cli.options import AsJson, Force

EncoderName = Annotated[str, typer.Option(metavar="NAME", help="An encoder in models/ssl.")]
SeedRun = Annotated[int, typer.Option(min=0, help="Which of its trainings, each with a seed of its own.")]
Layer = Annotated[
    Literal["backbone", "projector"], typer.Option(help="Features of the backbone, or the output of the projector.")
]
NAMED = 3  # files of each kind that are named among those left out; --json names all


def features(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES", help="Images, and folders of images or of folders of images.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Table to write: .parquet, .csv or .npz.")],
    encoder: EncoderName = "simsiam",
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Features of your own images by a trained encoder: a row for each, its path and f0, f1, …

    Images are read as the pipeline reads a folder of them: upright, cut to a square in the middle, resized.
    """
    from triptych.cli import encoders

    encoders.refuse_output(out, encoders.ENDINGS, force)
    found = encoders.features(encoders.trained_encoder(encoder, seed_run), images, layer)
    encoders.write_features(out, found)
    count, size = found.values.shape
    if as_json:
        about = {"encoder": encoder, "seed_run": seed_run, "layer": layer}
        typer.echo(json.dumps({**about, "out": str(out), "images": count, "size": size, "left_out": found.left_out}))
        return
    typer.echo(f"{out}: {size} features of {count:,} {'image' if count == 1 else 'images'}")
    for reason, files in found.left_out.items():
        more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
        typer.echo(f"left out: {len(files):,}, {reason}: {', '.join(files[:NAMED])}{more}")


def neighbours(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any image.")],
    encoder: EncoderName = "simsiam",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write: .png.")] = Path("neighbours.png"),
    count: Annotated[int, typer.Option(min=1, help="How many training images.")] = 8,
    seed_run: SeedRun = 0,
    layer: Layer = "backbone",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """The training images nearest to an image by a trained encoder, in cosine similarity, side by side as a picture."""
    from triptych.cli import encoders
    from triptych.cli import neighbours as nearest

    encoders.refuse_output(out, (".png",), force)
    found = nearest.neighbours(encoders.trained_encoder(encoder, seed_run), image, count, layer)
    nearest.draw(out, found)
    if as_json:
        shown = [vars(one) for one in found.neighbours]
        about = {"encoder": encoder, "seed_run": seed_run, "layer": layer}
        typer.echo(json.dumps({**about, "image": str(image), "out": str(out), "neighbours": shown}))
        return
    for one in found.neighbours:
        label = "" if one.label is None else f"  {one.label}"
        typer.echo(f"{one.similarity:.4f}  training image {one.index}{label}")
    typer.echo(f"the picture: {out}")


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="classifier, vae, ddpm, or ssl/ and the name of an encoder.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; a new or an empty folder.")],
    seed_run: SeedRun = 0,
    as_json: AsJson = False,
) -> None:
    """A trained model as a folder for the Hugging Face hub and other programs.

    It holds a model card, README.md; the weights as a plain state dict, model.safetensors; config.json; and ONNX for
    any batch size: encoder.onnx of an encoder, encoder.onnx and decoder.onnx of the VAE, classifier.onnx, denoiser.onnx
    of the DDPM. The networks of the DDPM are none of diffusers', so it is no pipeline of diffusers; the noise levels
    are written as the config of a scheduler that diffusers reads.
    """
    from triptych.cli.export import export as write

    files = write(model, folder, seed_run)
    if as_json:
        typer.echo(json.dumps({"model": model, "seed_run": seed_run, "folder": str(folder), "files": files}))
        return
    typer.echo(f"{folder}: {', '.join(files)}")
