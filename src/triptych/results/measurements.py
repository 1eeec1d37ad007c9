"""The numbers of the pipeline in words: which file holds which, what each means, how it is written.

The page and the terminal print the same tables from here.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from triptych.core.errors import InputError


@dataclass(frozen=True)
class Source:
    """The files of one part of the pipeline.

    Attributes:
        study: classifier, vae, ddpm or simsiam.
        title: what a heading calls it.
        metrics: the metrics file.
        measured_by: the stage that writes it.
        timing: the wall-clock metric of its training stage.
        trained_by: that stage.
    """

    study: str
    title: str
    metrics: Path
    measured_by: str
    timing: Path
    trained_by: str

    @property
    def name(self) -> str:
        """The short name of its files: `vae`, `ssl/no_predictor`."""
        return self.trained_by.replace("@", "/")


def _source(study: str, title: str, measured_by: str) -> Source:
    return Source(study, title, Path(f"metrics/{study}.json"), measured_by, Path(f"metrics/timing/{study}.json"), study)


CLASSIFIER = _source("classifier", "The judge", "classifier")
VAE = _source("vae", "VAE", "evaluate_vae")
DDPM = _source("ddpm", "DDPM", "evaluate_ddpm")


# Names of methods that are not their variant's name with spaces.
METHOD_TITLES = {
    "simsiam": "SimSiam",
    "no_stop_gradient": "without stop-gradient",
    "no_predictor": "without predictor",
    "projector_4096": "wider projector",
    "barlow_twins": "Barlow Twins",
    "vicreg": "VICReg",
    "byol": "BYOL",
    "dssl": "DSSL",
    "asymsiam": "AsymSiam",
    "simclr": "SimCLR",
}


def method_title(variant: str) -> str:
    """What a variant of the third study is called."""
    return METHOD_TITLES.get(variant, variant.replace("_", " "))


def ssl_source(variant: str) -> Source:
    """One method of the third study, such as `simsiam` or `no_predictor`."""
    path = f"ssl/{variant}.json"
    return Source(
        "simsiam",
        method_title(variant),
        Path("metrics") / path,
        f"evaluate_ssl@{variant}",
        Path("metrics/timing") / path,
        f"ssl@{variant}",
    )


def every_source(params: Mapping) -> list[Source]:
    """All parts that a pipeline with these params can measure, whether or not they have run."""
    variants = (params.get("ssl") or {}).get("variants") or {}
    return [CLASSIFIER, VAE, DDPM, *(ssl_source(variant) for variant in variants)]


@dataclass(frozen=True)
class Measure:
    """What a key of a metrics file means.

    Attributes:
        name: a few words for people.
        meaning: one sentence.
        style: a format specification.
        reference: the key whose value this one is read against.
        reference_name: what that value is.
    """

    name: str
    meaning: str = ""
    style: str = ".3f"
    reference: str = ""
    reference_name: str = ""


def _accuracy(name: str, meaning: str) -> Measure:
    return Measure(name, meaning, ".1%")


MEASURES: dict[str, Measure] = {
    # The judge
    "test_accuracy": _accuracy("test accuracy", "Share of test images that the judge classifies correctly."),
    "test_recognisability": _accuracy(
        "recognised test images", "Share of test images of which the judge is sure: the most that samples can reach."
    ),
    # Likelihood
    "iwae_bpd": Measure(
        "likelihood bound, importance-weighted",
        "Bits per dimension with K importance samples, under a calibrated likelihood of 8-bit pixels; lower is better.",
    ),
    "elbo_bpd": Measure(
        "likelihood bound, ELBO", "The same from the evidence lower bound, which is looser; lower is better."
    ),
    "unit_variance_iwae_bpd": Measure(
        "importance-weighted bound, unit variance",
        "Under the report's N(μ, I) on [-1, 1], below 8.32 bits per dimension is out of reach.",
    ),
    "unit_variance_elbo_bpd": Measure("ELBO, unit variance", "The evidence lower bound under N(μ, I)."),
    "unit_variance_iwae_nats": Measure(
        "log-likelihood, unit variance", "The same bound in nats for a whole image: the report's own number.", ",.1f"
    ),
    "calibrated_sigma": Measure(
        "calibrated σ", "Standard deviation of p(x|z) that fits the training images best, on [-1, 1]."
    ),
    "vlb_bpd": Measure("variational bound", "Bits per dimension; lower is better."),
    "vlb_parts_bpd_prior": Measure("of it, prior", "What is left of the image at the end of the chain."),
    "vlb_parts_bpd_diffusion": Measure("of it, diffusion", "The steps of the chain between."),
    "vlb_parts_bpd_decoder": Measure("of it, decoder", "From the last step to 8-bit pixels."),
    # Images
    "reconstruction_mse": Measure(
        "reconstruction error",
        "Mean squared error of test images decoded from their posterior mean, on [-1, 1].",
        ".4f",
    ),
    "reconstruction_same_class": _accuracy(
        "reconstructions of the right class",
        "Share of test images in whose reconstruction the judge reads their label.",
    ),
    "frechet_distance": Measure(
        "Fréchet distance",
        "Between samples and test images, in the judge's penultimate features; lower is better.",
        ",.2f",
        "frechet_floor",
        "training against test images",
    ),
    "recognisability": Measure(
        "recognisability",
        "Share of samples in which the judge is sure of a class.",
        ".1%",
        "real_recognisability",
        "test images",
    ),
    "sharpness_ratio": Measure(
        "sharpness ratio", "Sharpness of samples over that of real images: 1 is as sharp, below is blurry.", ".2f"
    ),
    "precision": Measure(
        "precision",
        "Share of samples that lie among the real images in the judge's features.",
        ".1%",
        "real_precision",
        "training images",
    ),
    "recall": Measure(
        "recall", "Share of real images that lie among the samples.", ".1%", "real_recall", "training images"
    ),
    "clipped_share": _accuracy("clipped values", "Share of sample values cut off at black or white."),
    "median_spread": Measure("spread of a median sample", "Standard deviation of its pixels, on [-1, 1].", ".2f"),
    "samples": Measure("samples", "How many images were drawn for these numbers.", ",.0f"),
    # Latents
    "active_units": Measure("active latents", "Latents whose posterior mean varies over the test images.", ".0f"),
    "top_latents_share": _accuracy(
        "share of the top latents",
        "How much of a class's distance from the overall mean its three strongest latents carry, over the classes.",
    ),
    "interpolation_smoothness": Measure(
        "unevenness of interpolations",
        "Largest step over mean step along a straight latent path, in the judge's features: 1 is perfectly smooth.",
        ".2f",
    ),
    # Training tables
    "loss": Measure("training loss", style=",.4g"),
    "nll": Measure("reconstruction term", style=",.4g"),
    # Self-supervised learning
    "knn_accuracy": Measure(
        "kNN accuracy",
        "k nearest neighbours in the encoder's features, last epoch, all test images.",
        ".1%",
        "random_init_knn_accuracy",
        "untrained",
    ),
    "random_init_knn_accuracy": _accuracy("kNN accuracy, untrained", "The floor: the same encoder before training."),
    "linear_accuracy": Measure(
        "linear accuracy",
        "A linear classifier on frozen features.",
        ".1%",
        "random_init_linear_accuracy",
        "untrained",
    ),
    "embedding_std": Measure(
        "embedding std", "Spread of the normalised embedding times √d: 1 is healthy, 0 is collapsed."
    ),
    "effective_rank": Measure("effective rank", "RankMe: how many directions the embedding uses.", ".1f"),
    "alignment": Measure(
        "alignment", "Mean squared distance of two views of an image on the unit sphere: 0 alike, 2 unrelated."
    ),
    "uniformity": Measure(
        "uniformity", "How evenly embeddings cover the sphere: 0 is one point, about −4 is even.", ".2f"
    ),
    "final_loss": Measure("final loss", "Training loss of the last epoch."),
    "collapsed": Measure("collapsed", "By embedding std and rank, not by accuracy."),
    "collapse_kind": Measure("kind of collapse"),
    "collapsed_since_epoch": Measure("collapsed since epoch", style=".0f"),
    "seed": Measure("seed", style=".0f"),
    # Restoration
    "t": Measure("t", style=".0f"),
    "sigma": Measure("noise σ"),
    "same_class": _accuracy("same class", "Share of restored images in which the judge reads the original's class."),
    "psnr": Measure("PSNR, dB", "Peak signal-to-noise ratio to the original.", ".1f"),
    "ssim": Measure("SSIM", "Structural similarity to the original: 1 is identical."),
    "noised_psnr": Measure("PSNR before, dB", "Of the noised image.", ".1f"),
    "half_restored_t": Measure("half come back at t", "Where half of the digits come back as another.", ".0f"),
    "half_restored_reached": Measure("half are lost within the measured t"),
    # Timing
    "seconds_per_epoch": Measure("seconds per epoch", style=",.2f"),
    "seconds_total": Measure("training, seconds", style=",.1f"),
    "images_per_second": Measure("images per second", style=",.0f"),
    "seconds_per_image": Measure("seconds per image", style=".2g"),
    "parameters": Measure("parameters", style=",.0f"),
}
_REFERENCES = {
    about.reference: Measure(f"{about.name}, {about.reference_name}", style=about.style)
    for about in MEASURES.values()
    if about.reference and about.reference not in MEASURES
}


def measure(key: str) -> Measure:
    """What a key means (one inside a mapping is dotted); an unknown one goes by its own name."""
    flat = key.replace(".", "_")
    return MEASURES.get(flat) or _REFERENCES.get(flat) or Measure(key, style=".4g")


NBSP = "\u00a0"  # stands before a unit
POINTS = "points"  # the style of a difference of percentages


def written(value: object, style: str = ".4g") -> str:
    """A value as people read it: `97.3 %` (no line breaks inside), `−1.00`, `yes`, `–` for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if style == POINTS:
            return f"{100 * value:+.1f}\u00a0points".replace("-", "−")
        return format(value, style).replace("-", "−").replace("%", "\u00a0%")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {written(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(written(entry) for entry in value)
    return str(value)


def written_interval(interval: object, style: str = ".4g") -> str:
    """`low to high`, from {low, high} or [low, high]; empty for none."""
    if isinstance(interval, Mapping) and {"low", "high"} <= interval.keys():
        interval = [interval["low"], interval["high"]]
    if isinstance(interval, list | tuple) and len(interval) == 2:
        low, high = (written(bound, style) for bound in interval)
        return f"{low.partition(NBSP)[0]} to {high}"
    return "" if interval is None else written(interval, style)


@dataclass(frozen=True)
class Row:
    """One number, ready to print; the texts that do not apply are empty."""

    key: str
    name: str
    meaning: str
    value: str
    interval: str
    reference: str
    reference_name: str


def rows(metrics: Mapping) -> list[Row]:
    """The numbers of a metrics file, those with a name first in the catalogue's order; `intervals` join their keys.

    A reference (such as the Fréchet distance of training images) stands beside its number and has no row of its own.
    Tables in the file (lists of mappings) are left to `tables`, and words to `notes`.
    """
    intervals = metrics.get("intervals") or {}
    flat = {key: value for key, value in _leaves(metrics) if not _is_table(value) and not isinstance(value, str)}
    beside = {measure(key).reference for key in flat}
    ranks = {key: rank for rank, key in enumerate(MEASURES)}
    keys = sorted(
        (key for key in flat if key not in beside), key=lambda key: ranks.get(key.replace(".", "_"), len(ranks))
    )
    return [_row(key, flat, intervals) for key in keys]


def _row(key: str, flat: Mapping, intervals: Mapping) -> Row:
    about = measure(key)
    has_reference = about.reference in flat
    return Row(
        key=key,
        name=about.name,
        meaning=about.meaning,
        value=written(flat[key], about.style),
        interval=written_interval(intervals.get(key), about.style),
        reference=written(flat[about.reference], about.style) if has_reference else "",
        reference_name=about.reference_name if has_reference else "",
    )


@dataclass(frozen=True)
class Compared:
    """One method among others: its numbers in the order of the columns, None where it has no such number."""

    source: Source
    cells: list[Row | None]


def comparison(parts: Sequence[tuple[Source, Mapping]]) -> tuple[list[Measure], list[Compared]]:
    """Columns and rows of the table that compares methods by their metrics files."""
    found = [(source, {row.key: row for row in rows(metrics)}, collapse(metrics)) for source, metrics in parts]
    there = {key for _, cells, _ in found for key in cells} - {"collapsed_since_epoch"}
    keys = [*(key for key in MEASURES if key in there), *sorted(there - MEASURES.keys())]
    table = []
    for source, cells, words in found:
        if words and "collapsed" in cells:
            cells["collapsed"] = replace(cells["collapsed"], value=words)
        table.append(Compared(source, [cells.get(key) for key in keys]))
    return [measure(key) for key in keys], table


def collapse(metrics: Mapping) -> str:
    """`no`, or the kind of collapse and since when: `complete, from epoch 2`; empty where nothing was diagnosed."""
    collapsed, kind, since = (metrics.get(key) for key in ("collapsed", "collapse_kind", "collapsed_since_epoch"))
    if not collapsed:
        return "" if collapsed is None else "no"
    return (kind or "yes") + ("" if since is None else f", from epoch {since}")


def described(settings: Mapping) -> str:
    """What sets a method of the third study up, in words: `projector output 512, predictor mlp, stop-gradient`."""
    words = []
    for key, value in settings.items():
        name = {"projector_dim": "projector output", "stop_gradient": "stop-gradient"}.get(key, key.replace("_", " "))
        if isinstance(value, bool):
            words.append(name if value else f"no {name}")
        elif key != "method" and isinstance(value, str | int | float):
            words.append(f"{name} {str(value).replace('_', ' ')}")
    return ", ".join(words)


def notes(metrics: Mapping) -> list[tuple[str, str]]:
    """(key, words) of what a metrics file says in words, such as the likelihood that a bound is under."""
    said = [(key.replace("_", " "), value) for key, value in _leaves(metrics) if isinstance(value, str)]
    return [(key, value.removesuffix(".")) for key, value in said]


def tables(metrics: Mapping) -> dict[str, list[dict[str, str]]]:
    """The tables of a metrics file, such as `restoration`: each a list of {column: text}, intervals in brackets."""
    return {key: [_table_row(entry) for entry in value] for key, value in metrics.items() if _is_table(value)}


def _table_row(entry: Mapping) -> dict[str, str]:
    intervals = entry.get("intervals") or {}
    texts = {}
    for key, value in _leaves(entry):
        about = measure(key)
        interval = written_interval(intervals.get(key), about.style)
        texts[about.name] = written(value, about.style) + (f" ({interval})" if interval else "")
    return texts


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _leaves(metrics: Mapping, above: str = "") -> Iterator[tuple[str, object]]:
    """Every value with its dotted key, without the intervals."""
    for key, value in metrics.items():
        if key == "intervals":
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def read_json(path: Path) -> dict | list | None:
    """What a metrics file holds; None where there is none yet.

    Raises:
        InputError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); run its stage again") from None


def read_metrics(path: Path) -> dict | None:
    """`read_json` of a file that must hold a mapping.

    Raises:
        InputError: it holds something else.
    """
    metrics = read_json(path)
    if metrics is not None and not isinstance(metrics, dict):
        raise InputError(f"{path}: expected a mapping of metrics, found {type(metrics).__name__}")
    return metrics


def read_table(path: Path) -> list[dict[str, str | float]] | None:
    """The rows of a plot table, numbers as numbers; None where there is none yet.

    Raises:
        InputError: the file is not a table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(lines, strict=True)]
    except FileNotFoundError:
        return None
    except (csv.Error, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table ({error}); run its stage again") from None


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def read_claims(path: Path) -> list[dict] | None:
    """The verdicts; None where there are none yet.

    Raises:
        InputError: the file is not a list of mappings with a verdict.
    """
    claims = read_json(path)
    if claims is None:
        return None
    if not isinstance(claims, list) or not all(isinstance(claim, dict) and "verdict" in claim for claim in claims):
        raise InputError(f"{path}: expected a list of claims with their verdicts; run its stage again")
    return claims


# How the number that decides a claim is written, where it is a share or a difference of shares.
CLAIM_STYLES = {
    **dict.fromkeys(("vae-wall-clock", "vae-blurry", "vae-latents", "ddpm-restores-30", "ddpm-fails-120"), ".1%"),
    **dict.fromkeys(("stop-gradient", "predictor", "dim-4096"), POINTS),
    **dict.fromkeys(("barlow-no-tricks", "heavy-augmentation", "byol-vs-simsiam", "asymmetry"), POINTS),
}


@dataclass(frozen=True)
class Verdict:
    """One claim of the report with its verdict, ready to print; the texts that do not apply are empty.

    Attributes:
        id: the claim's.
        claim: what is claimed, in a sentence.
        says: how the report puts it.
        verdict: reproduced, not reproduced or inconclusive.
        finding: what this run found, and why this verdict.
        statistic: what was measured.
        measured: its value.
        interval: of the value.
        threshold: what the value was held against.
        figures: numbers of the figures that the claim is about.
        evidence: (what, value) of the other numbers that count.
        sources: the files that all these come from.
    """

    id: str
    claim: str
    says: str
    verdict: str
    finding: str
    statistic: str
    measured: str
    interval: str
    threshold: str
    figures: list[int]
    evidence: list[tuple[str, str]]
    sources: list[Path]

    @property
    def slug(self) -> str:
        """The verdict as a word of a style sheet."""
        return self.verdict.replace(" ", "-")

    @property
    def seen(self) -> str:
        """The first sentence of the finding."""
        first, _, rest = self.finding.partition(". ")
        return f"{first}." if rest else first


def verdict(claim: Mapping) -> Verdict:
    """A record of metrics/claims.json, ready to print."""
    style = CLAIM_STYLES.get(str(claim.get("id")), "#.3g")
    measured, threshold = claim.get("measured"), claim.get("threshold")
    return Verdict(
        id=str(claim.get("id", "")),
        claim=str(claim.get("claim") or claim.get("id", "")),
        says=str(claim.get("report_says") or ""),
        verdict=str(claim["verdict"]),
        finding=str(claim.get("finding") or ""),
        statistic=str(claim.get("statistic") or "").partition(";")[0],
        measured="" if measured is None else written(measured, style),
        interval=written_interval(claim.get("interval"), style),
        threshold="" if threshold is None else written(threshold, style),
        figures=list(claim.get("figures") or []),
        evidence=_evidence(claim.get("evidence") or {}),
        sources=[Path(path) for path in claim.get("sources") or []],
    )


def _evidence(numbers: Mapping) -> list[tuple[str, str]]:
    """What and how much; `<what>_low` and `<what>_high` become an interval."""
    found = dict(_leaves(numbers))
    bounds = {key for key in found if key.endswith(("_low", "_high")) and key.rpartition("_")[0] in found}
    texts = []
    for key, value in found.items():
        if key not in bounds:
            style = _style_within(key)
            around = [found.get(f"{key}_low"), found.get(f"{key}_high")]
            interval = "" if None in around else f" ({written_interval(around, style)})"
            texts.append((key.replace("_", " ").replace(".", ", "), written(value, style) + interval))
    return texts


def _style_within(key: str) -> str:
    """The style of the longest measure in a key such as `ddpm_frechet_distance`."""
    words = f"_{key.replace('.', '_')}_"
    known = [name for name in MEASURES if f"_{name}_" in words]
    return MEASURES[max(known, key=len)].style if known else ".4g"


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
