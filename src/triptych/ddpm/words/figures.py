"""The figures of the DDPM: the report's 28 to 43, restoration over t, what a sample costs, and what guidance buys."""

from pathlib import Path

import numpy as np
import pandas as pd

from triptych.ddpm.words.claims import restored_from
from triptych.report import generated
from triptych.report.drawing import cost, panels, sheets, style, sweep
from triptych.report.drawing.curves import Level
from triptych.report.formatting import PERCENT, written
from triptych.report.generated import Reading
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts
from triptych.vae.words.figures import FINAL_SAMPLES, WALL_CLOCK
from triptych.vae.words.figures import IMAGES as VAE_IMAGES

IMAGES, JUDGED = "samples/ddpm/images.npz", "evaluations/ddpm/judged.npz"
# The epochs that the report shows, of its 30.
REPORT_EPOCHS = (1, 5, 10, 15, 20, 25)
# The times that the report restores an image from, and what it says becomes of the image.
REPORT_TIMES = {30: "comes back", 120: "does not come back"}
RESTORED = 16  # test images of the sheet of restorations
GUIDED = 48  # samples of the sheet of guided ones
OVERVIEW = 11  # images of each kind in the overview
BEYOND = "Beyond the report"


def noised(number: int, t: int) -> Figure:
    """One test image on its way to time t."""
    title = f"A test image noised to t = {t}"

    def draw(path: Path, results: Results) -> None:
        sigma = restored_from(results, t).number("sigma")
        sheets.rows(
            path,
            results.arrays(IMAGES)[f"strip_forward_{t}"][None],
            title,
            f"From the original at the left to t = {t} at the right, in even steps of the report's linear schedule "
            f"(T = 1000, t counted from 1). There the noise has standard deviation {sigma:.3f} on [-1, 1].",
        )

    row = f"ddpm:restoration.t={t}"
    return Figure(
        number=number,
        slug=f"ddpm_noised_{t}",
        title=title,
        caption=f"The report noises one test image forward to t = {t}: look at how much of the digit is left.",
        group="Noised and restored",
        draw=draw,
        saw=f"At t = {t} the noise has a standard deviation of {{{row}.sigma}} on [−1, 1]; test images noised so lie "
        f"at a PSNR of {{{row}.noised_psnr}} dB.",
    )


def restored(number: int, t: int) -> Figure:
    """The same image on its way back from time t, then the original."""
    title = f"The same image restored from t = {t}"

    def draw(path: Path, results: Results) -> None:
        row, arrays, judged = restored_from(results, t), results.arrays(IMAGES), results.arrays(JUDGED)
        reading = Reading([str(name) for name in judged["classes"]], judged[f"strip_probabilities_{t}"][0])
        sheets.rows(
            path,
            np.concatenate([arrays[f"strip_backward_{t}"], arrays["strip_original"]])[None],
            title,
            "From the noised image at the left through the reverse process; the last is the original. "
            f"{reading.sentence(' in the restored image')} Over the test images: {_what_is_left(row)}.",
        )

    row = f"ddpm:restoration.t={t}"
    return Figure(
        number=number,
        slug=f"ddpm_restored_{t}",
        title=title,
        caption=f"The report runs the reverse process from t = {t} and finds that the original {REPORT_TIMES[t]}: "
        "compare the digit and its details with the original.",
        group="Noised and restored",
        draw=draw,
        saw=f"From t = {t} the class comes back in {{{row}.same_class}} of test images, with an SSIM of {{{row}.ssim}} "
        f"and a PSNR of {{{row}.psnr}} dB.",
    )


def _what_is_left(row: Metrics) -> str:
    """`97.0% keep their class, SSIM 0.93, PSNR 30.1 dB`; what was not measured is left out."""
    told = {"same_class": "{:.1%} keep their class", "ssim": "SSIM {:.2f}", "psnr": "PSNR {:.1f} dB"}
    return ", ".join(words.format(row.number(key)) for key, words in told.items() if key in row) or "not measured"


def draw_restoration_curve(path: Path, results: Results) -> None:
    """Same-class rate, SSIM and PSNR against t."""
    numbers = results.metrics("ddpm")
    half = numbers.number("half_restored_t")
    reached = f"Half have changed class at t = {half:.0f}."
    if not numbers.number("half_restored_reached"):
        reached = f"At t = {half:.0f} most still keep it."
    panels.against(
        path,
        results.table("plots/ddpm/restoration.csv", "t", "metric", "value", "low", "high"),
        names={"same_class": "share that keeps its class", "ssim": "SSIM to the original", "psnr": "PSNR, dB"},
        shares=("same_class", "ssim"),
        marked=tuple(REPORT_TIMES),
        label="t (linear schedule, T = 1000)",
        title="How much noise the reverse process can undo",
        note=f"Test images noised to t and restored; dashed: the report's t = 30 and 120. {reached} Bands: intervals "
        "over test images.",
    )


def _where_half_are_lost(facts: Facts) -> str:
    if facts.look_up("ddpm", "half_restored_reached"):
        return "At t = {ddpm:half_restored_t} half of the test images come back as another class."
    return (
        "More than half of the test images keep their class even from t = {ddpm:restoration.-1.t}: "
        "{ddpm:restoration.-1.same_class}."
    )


def draw_restorations(path: Path, results: Results) -> None:
    """The same test images restored from each time, a row each, below the originals."""
    arrays = results.arrays(IMAGES)
    times = [int(row.number("t")) for row in results.metrics("ddpm").rows("restoration")]
    sheets.bands(
        path,
        {
            "original": arrays["originals"][:RESTORED],
            **{f"from t = {t}": arrays[f"restored_{t}"][:RESTORED] for t in times},
        },
        "What comes back from which noise",
        "The first test images, and what the reverse process makes of them from ever later times. Look for what goes "
        "first: details, the digit, or its colours.",
    )


def draw_sampling_cost(path: Path, results: Results) -> None:
    """Fréchet distance against seconds an image, a line for each sampler."""
    measured = results.table(
        "plots/ddpm/sampling.csv", "sampler", "steps", "samples", "frechet_distance", "low", "high"
    )
    if measured.empty:
        raise UnmeasuredError("sampling.ddpm.cost in params.yaml compares no samplers")
    seconds = pd.DataFrame(results.timing("sample/ddpm").values["sampling"])
    table = measured.merge(seconds, on=["sampler", "steps"])
    counts = " or ".join(f"{count:,}" for count in sorted(set(table["samples"])))
    columns = {"sampler": "group", "steps": "point", "seconds_per_image": "cost", "frechet_distance": "value"}
    cost.by_group(
        path,
        table.rename(columns=columns),
        Level(
            results.metrics("ddpm").number("frechet_floor"), "training against test images", style.MUTED, ":", width=1.2
        ),
        ("seconds for one image", "Fréchet distance (lower is better)"),
        "What a sample costs, and what it is worth",
        f"The same weights under other samplers, {counts} samples each (fewer samples measure a larger distance). "
        "Numbers are steps: look for the one beyond which nothing is gained. Points whose intervals overlap are tied.",
    )


def _which_samplers_are_tied(facts: Facts) -> str:
    table = "plots/ddpm/sampling"
    rows = facts.content(table)
    if not rows:
        raise UnmeasuredError(f"{table}.csv compares no samplers")
    best = min(range(len(rows)), key=lambda place: rows[place]["frechet_distance"])
    tied = [place for place, row in enumerate(rows) if place != best and row["low"] <= rows[best]["high"]]

    def point(place: int) -> str:
        return f"{{{table}:{place}.sampler}} in {{{table}:{place}.steps}}"

    said = (
        f"With {{{table}:{best}.samples}} samples each, {point(best)} steps comes nearest to the test images, at a "
        f"Fréchet distance of {{{table}:{best}.frechet_distance}}"
    )
    if not tied:
        return f"{said}; no other's interval overlaps its own."
    farther = "all others are farther" if len(tied) + 1 < len(rows) else "so nothing here ranks the samplers"
    return f"{said}; tied with it, as intervals overlap, are {', '.join(map(point, tied))}; {farther}."


def draw_guidance(path: Path, results: Results) -> None:
    """Fréchet distance and recognisability against the weight of guidance, a line for each guide."""
    distance = ("frechet_distance", "low", "high")
    recognised = ("recognisability", "recognisability_low", "recognisability_high")
    measured = results.table("plots/ddpm/guidance.csv", "epoch", "weight", "samples", *distance, *recognised)
    numbers, total = results.metrics("ddpm"), int(results.param("ddpm.training.epochs"))
    real = [
        Level(numbers.number(key), name, style.MUTED, ":", width=1.2)
        for key, name in (("frechet_floor", "training images"), ("real_recognisability", "test images"))
    ]
    sweep.by_group(
        path,
        measured.assign(group=[f"guide: epoch {epoch} of {total}" for epoch in measured["epoch"]]),
        "weight",
        [
            sweep.Measure(distance[0], distance[1:], "Fréchet distance (lower is better)", "g", real[0]),
            sweep.Measure(recognised[0], recognised[1:], "recognised by the judge", ".0%", real[1]),
        ],
        "weight of guidance (1: none)",
        "What guidance by an earlier self buys",
        "The guide is the same network earlier in its training: where the two disagree, samples go further from the "
        f"guide. {measured['samples'].max():,} samples at each point, from the same noise. Look at whether the "
        "distance turns back up while more images are recognised: such samples are clear, and less like real ones.",
    )


def draw_guided_samples(path: Path, results: Results) -> None:
    """Guided samples below those of the same noise without guidance."""
    arrays = results.arrays(IMAGES)
    sheets.pairs(
        path,
        arrays["samples"][:GUIDED],
        arrays["guided"][:GUIDED],
        ("unguided", "guided"),
        "The same noise without guidance and with it",
        f"Guide: the weights after epoch {int(arrays['guidance_epoch'])}; weight {float(arrays['guidance_weight']):g}. "
        "The first samples, not chosen: each stands above its guided counterpart.",
    )


def draw_overview(path: Path, results: Results) -> None:
    """A row of images of every kind that both models make, each with its two numbers, above real ones."""
    of_vae, of_ddpm = results.arrays(VAE_IMAGES), results.arrays(IMAGES)
    vae, ddpm = results.metrics("vae"), results.metrics("ddpm")
    last = max(int(name.split("_")[1]) for name in of_vae if name.startswith("reconstructions_"))

    def named(name: str, numbers: Metrics) -> str:
        recognised, distance = numbers.number("recognisability"), numbers.number("frechet_distance")
        return f"{name}\nread: {written(recognised, PERCENT)}\nFréchet: {written(distance, '.2f')}"

    same_class = written(vae.number("reconstruction_same_class"), PERCENT)
    real = f"read: {written(ddpm.number('real_recognisability'), PERCENT)}"
    kinds = {
        named("VAE, N(0, I)", vae): of_vae["samples"],
        named("VAE, fitted prior", vae.part("fitted_prior")): of_vae["fitted_samples"],
        f"VAE, reconstructions\nread right: {same_class}": of_vae[f"reconstructions_{last}"],
        named("DDPM", ddpm): of_ddpm["samples"],
        named("DDPM, guided", ddpm.part("guided")): of_ddpm["guided"],
        f"test images\n{real}\nFréchet: {written(ddpm.number('frechet_floor'), '.2f')}": of_vae["originals"],
    }
    sheets.bands(
        path,
        {name: images[:OVERVIEW] for name, images in kinds.items()},
        "All that both models draw, at a glance",
        "The first of each kind, not chosen. Read: share in which the judge is sure of a digit. Fréchet: distance of "
        "all samples from the test images in the judge's features; of test images, that of training images.",
        margin=0.19,
    )


def _what_buys_what(facts: Facts) -> str:
    vae, ddpm = (Metrics(f"metrics/{name}.json", dict(facts.content(name))) for name in ("vae", "ddpm"))
    fitted, guided = vae.part("fitted_prior"), ddpm.part("guided")
    said = (
        "The decoder's reconstructions show the right digit in {vae:reconstruction_same_class}, its samples some digit "
        "in {vae!v:recognisability} from N(0, I) and in {vae!v:fitted_prior.recognisability} from the fitted prior"
    )
    if fitted.estimate("recognisability").low > vae.estimate("recognisability").high:
        said += ": the prior made them unreadable"
    said += (
        ". Guidance takes the DDPM's from {ddpm!v:recognisability} to {ddpm!v:guided.recognisability}, for twice the "
        "network calls."
    )
    if fitted.estimate("sharpness_ratio").high < 1:
        said += (
            " No prior buys sharpness, as the decoder draws a mean: the VAE's samples have "
            "{vae!v:fitted_prior.sharpness_ratio} of real images'."
        )
    if guided.estimate("precision").high < ddpm.number("real_precision"):
        said += (
            " Nor does guidance make samples real: {ddpm!v:guided.precision} of them lie among real images, where of "
            "further real ones {ddpm!v:real_precision} do."
        )
    return said


FIGURES = (
    generated.wall_clock(
        number=28,
        study="ddpm",
        name="DDPM",
        caption="The report plots 30 epochs: look for epochs of equal length, and compare with figure "
        f"{WALL_CLOCK.number}.",
    ),
    *generated.samples_during_training(
        first=29,
        study="ddpm",
        name="DDPM",
        epochs=REPORT_EPOCHS,
        caption="The report shows samples after epoch <R>, here all from the same starting noise: follow one place "
        "from sheet to sheet as its digit forms.",
        saw="After epoch <E> of <N> the training loss is {plots/ddpm/training:epoch=<E>.loss}, after the last "
        "{plots/ddpm/training:epoch=<N>.loss}; then the judge recognises {ddpm:recognisability} of samples.",
    ),
    *(
        figure
        for place, t in enumerate(REPORT_TIMES)
        for figure in (noised(35 + 2 * place, t), restored(36 + 2 * place, t))
    ),
    *generated.final_samples(
        first=39,
        study="ddpm",
        name="DDPM",
        caption="The report shows five samples of the trained DDPM and finds them better than the VAE's: compare with "
        f"figures {FINAL_SAMPLES[0].number} to {FINAL_SAMPLES[-1].number}.",
        saw=(
            "The judge is sure of a class in {ddpm:recognisability} of the DDPM's samples, in "
            "{vae!v:recognisability} of the VAE's and in {ddpm!v:real_recognisability} of test images.",
            "The DDPM's samples are {ddpm:sharpness_ratio} times as sharp as real images, the VAE's "
            "{vae:sharpness_ratio} times.",
            "The DDPM's samples lie at a Fréchet distance of {ddpm:frechet_distance} from the test images, the VAE's "
            "at {vae:frechet_distance} and training images at {ddpm!v:frechet_floor}.",
            "In the judge's features {ddpm:precision} of the DDPM's samples lie among real images, and {ddpm:recall} "
            "of real images among samples.",
            "The DDPM needs at most {ddpm:vlb_bpd} bits per dimension for a test image.",
        ),
    ),
    Figure(
        number=52,
        slug="ddpm_restoration_rate",
        title="Restoration against t",
        caption="The report shows t = 30 and t = 120 only: look at where on the whole curve the two lie.",
        group=BEYOND,
        draw=draw_restoration_curve,
        saw=_where_half_are_lost,
    ),
    Figure(
        number=54,
        slug="ddpm_sampling_cost",
        title="Sampling cost against quality",
        caption="The report draws every sample in T steps: look for the number of steps beyond which nothing is "
        "gained.",
        group=BEYOND,
        draw=draw_sampling_cost,
        saw=_which_samplers_are_tied,
    ),
    Figure(
        number=56,
        slug="ddpm_restorations",
        title="Restorations of many digits from many t",
        caption="The report shows one digit: look down each column for the t at which the digit becomes another.",
        group=BEYOND,
        draw=draw_restorations,
        saw="The class comes back in {ddpm:restoration.0.same_class} of test images from t = {ddpm:restoration.0.t}, "
        "and in {ddpm:restoration.-1.same_class} from t = {ddpm:restoration.-1.t}.",
        shows_data=True,
    ),
    Figure(
        number=64,
        slug="ddpm_guidance",
        title="Guidance by an earlier self",
        caption="The report samples without guidance: look for the weight at which samples are nearest to real images, "
        "and what becomes of those beyond it.",
        group=BEYOND,
        draw=draw_guidance,
        saw="Guided by epoch {ddpm:guided.epoch} with weight {ddpm:guided.weight}, samples lie at a Fréchet distance "
        "of {ddpm:guided.frechet_distance} instead of {ddpm:frechet_distance}, and the judge recognises "
        "{ddpm:guided.recognisability} of them instead of {ddpm:recognisability}; each takes twice the network calls.",
    ),
    Figure(
        number=65,
        slug="ddpm_guided_samples",
        title="Samples with and without guidance",
        caption="The report samples without guidance: compare each sample with the guided one below it, which starts "
        "from the same noise.",
        group=BEYOND,
        draw=draw_guided_samples,
        saw="Guided samples are {ddpm:guided.sharpness_ratio} as sharp as real images, those without guidance "
        "{ddpm:sharpness_ratio}; {ddpm:guided.precision} of them lie among the real ones instead of {ddpm:precision}, "
        "and {ddpm:guided.recall} of the real ones among them instead of {ddpm:recall}.",
    ),
    Figure(
        number=66,
        slug="generated_overview",
        title="Both models at a glance",
        caption="Look down the rows for what a prior buys, what guidance buys, and what neither does.",
        group=BEYOND,
        draw=draw_overview,
        saw=_what_buys_what,
        shows_data=True,
    ),
)
