"""Figures of the DDPM: figures 28 to 43 of the report, restoration, cost, guidance, and comparison with the VAE."""

from itertools import cycle
from pathlib import Path

import numpy as np

from triptych.report import drawing, generated_figures
from triptych.report.formatting import PERCENT, written
from triptych.report.generated_figures import VAE_FINAL_SAMPLES, VAE_WALL_CLOCK, images_path
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts

IMAGES = images_path("ddpm")
SAMPLING, GUIDANCE = "plots/ddpm/sampling", "plots/ddpm/guidance"
SNAPSHOTS = (1, 5, 10, 15, 20, 25)  # epochs that the report shows
# Times from which the report restores an image, and what it finds.
REPORT_TIMES = {30: "is restored", 120: "is not restored"}


def strips(first: int, t: int) -> tuple[Figure, Figure]:
    """Return two figures, numbered from `first`: a test image noised to time t, and the same image restored from t."""
    row = f"ddpm:restoration.t={t}"

    def figure(number: int, slug: str, title: str, caption: str, result: str, restored: bool = False) -> Figure:
        def draw(path: Path, results: Results) -> None:
            arrays = results.arrays(IMAGES)
            [strip] = arrays["strip_backward" if restored else "strip_forward"][arrays["strip_times"] == t]
            strip = np.concatenate([strip, arrays["strip_original"]]) if restored else strip
            drawing.image_sheet(path, [("", strip)], columns=len(strip))

        return Figure(number, f"ddpm_{slug}_{t}", title, caption, draw, result, group="Noised and restored")

    return (
        figure(
            first,
            "noised",
            f"A test image noised to t = {t}",
            f"From the original at the left to t = {t} at the right, in even steps of the report's linear schedule, "
            "T = 1000.",
            f"At t = {t} the noise has a standard deviation of {{{row}.sigma}} on [−1, 1], and test images with "
            f"this noise a PSNR of {{{row}.noised_psnr}} dB.",
        ),
        figure(
            first + 1,
            "restored",
            f"The same image restored from t = {t}",
            "From the noised image at the left through the reverse process to the restored image, and at the right "
            f"the original. The report finds that it {REPORT_TIMES[t]}.",
            f"Restored from t = {t}, {{{row}.same_class}} of test images keep their class, with an SSIM of "
            f"{{{row}.ssim}} and a PSNR of {{{row}.psnr}} dB.",
            restored=True,
        ),
    )


def draw_restoration_rate(path: Path, results: Results) -> None:
    """Plot the share of restored images that keep their class, and their SSIM and PSNR, against the noise time t."""
    results.metrics("ddpm").number("half_restored_t")
    table = results.table("plots/ddpm/restoration.csv", "t", "metric", "value", "low", "high")
    with drawing.chart(path, 3, sharex=True, height=6.0) as axes_of:
        labels = {"same_class": "same class", "ssim": "SSIM", "psnr": "PSNR, dB"}
        for axes, (metric, label) in zip(axes_of.flat, labels.items(), strict=True):
            rows = table[table["metric"] == metric].sort_values("t")
            axes.plot(rows["t"], rows["value"], "o-")
            axes.fill_between(rows["t"], rows["low"], rows["high"], alpha=0.2)
            for t in REPORT_TIMES:
                axes.axvline(t, color=drawing.PALETTE[1], linestyle="--")
            axes.set(ylabel=label, xscale="log", ylim=(None if metric == "psnr" else 0, None))
        drawing.percent(axes_of[0, 0].yaxis)
        ticks = sorted({int(table["t"].min()), int(table["t"].max()), *REPORT_TIMES})
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("t (linear schedule, T = 1000)")


def restoration_rate(facts: Facts) -> str:
    """Return a sentence that names the noise time, if any, from which half of the restored images change class."""
    if facts.look_up("ddpm", "half_restored_reached"):
        return "From t = {ddpm:half_restored_t}, half of the test images are restored as another class."
    return (
        "More than half of the test images keep their class even from t = {ddpm:restoration.-1.t}: "
        "{ddpm:restoration.-1.same_class}."
    )


def draw_restorations(path: Path, results: Results) -> None:
    """Draw test images, and below them the same images restored from each noise time t."""
    arrays = results.arrays(IMAGES)
    names = [f"from t = {t}" for t in arrays["restoration_times"]]
    bands = [("original", arrays["originals"]), *zip(names, arrays["restored"], strict=True)]
    drawing.image_sheet(path, [(name, images[: drawing.COLUMNS]) for name, images in bands])


def draw_sampling_cost(path: Path, results: Results) -> None:
    """Draw the Fréchet distance against seconds per image, with a line per sampler and a point per number of steps."""
    measured = results.table(f"{SAMPLING}.csv", "sampler", "steps", "samples", "frechet_distance", "low", "high")
    if measured.empty:
        raise UnmeasuredError("params.yaml: sampling.ddpm.cost lists no samplers to compare")
    floor = results.metrics("ddpm").number("frechet_floor")
    timing = results.timing("sample/ddpm").values["sampling"]
    seconds = {(row["sampler"], row["steps"]): row["seconds_per_image"] for row in timing}
    with drawing.chart(path, height=4.0, legend=3) as [[axes]]:
        # Samplers cost almost the same at equal steps, so each has its labels at another corner of its points.
        corners = cycle(((5, 5), (-5, 5), (5, -12), (-5, -12)))
        for (name, rows), corner in zip(measured.sort_values("steps").groupby("sampler"), corners, strict=False):
            costs = [seconds[name, steps] for steps in rows["steps"]]
            bars = abs(rows[["low", "high"]].to_numpy().T - rows["frechet_distance"].to_numpy())
            line = axes.errorbar(
                costs, rows["frechet_distance"], bars, marker="o", capsize=3, label=name.replace("_", " ")
            )
            for cost, row in zip(costs, rows.itertuples(), strict=True):
                axes.annotate(
                    f"{row.steps:,}",
                    (cost, row.frechet_distance),
                    xytext=corner,
                    textcoords="offset points",
                    ha="left" if corner[0] > 0 else "right",
                    color=line[0].get_color(),
                )
        axes.axhline(floor, color=drawing.MUTED, linestyle=":", label="training images")
        axes.set(xlabel="seconds per image", ylabel="Fréchet distance (lower is better)", xscale="log", ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.1)


def best_sampler(facts: Facts) -> str:
    """Return a sentence that names the sampler with the lowest Fréchet distance and counts those close to it."""
    rows = facts.content(SAMPLING)
    if not rows:
        raise UnmeasuredError(f"{SAMPLING}.csv contains no sampler comparison")
    best = min(range(len(rows)), key=lambda index: rows[index]["frechet_distance"])
    tied = sum(row["low"] <= rows[best]["high"] for row in rows) - 1
    return (
        f"Lowest Fréchet distance: {{{SAMPLING}:{best}.frechet_distance}}, {rows[best]['sampler'].replace('_', ' ')} "
        f"in {{{SAMPLING}:{best}.steps}} steps; the intervals of {tied} of {len(rows) - 1} others overlap with its own."
    )


def draw_guidance(path: Path, results: Results) -> None:
    """Draw sample quality against the guidance weight, with one line per snapshot that is used as a guide."""
    intervals = {
        "frechet_distance": ("low", "high"),
        "recognisability": ("recognisability_low", "recognisability_high"),
    }
    columns = [column for value, bounds in intervals.items() for column in (value, *bounds)]
    measured, ddpm = results.table(f"{GUIDANCE}.csv", "epoch", "weight", *columns), results.metrics("ddpm")
    real_images = ddpm.number("frechet_floor"), ddpm.number("real_recognisability")
    with drawing.chart(path, 1, 2, legend=3) as [[distance, recognised]]:
        for axes, (value, bounds) in zip((distance, recognised), intervals.items(), strict=True):
            for epoch, rows in measured.groupby("epoch"):
                bars = abs(rows[list(bounds)].to_numpy().T - rows[value].to_numpy())
                axes.errorbar(rows["weight"], rows[value], bars, marker="o", capsize=3, label=f"guide: epoch {epoch}")
            axes.set_xticks(sorted(measured["weight"].unique()))
        for axes, value in zip((distance, recognised), real_images, strict=True):
            axes.axhline(value, color=drawing.MUTED, linestyle=":", label="real images")
        distance.set(xlabel="weight (1: no guidance)", ylabel="Fréchet distance (lower is better)", ylim=(0, None))
        recognised.set(xlabel="weight (1: no guidance)", ylabel="recognised by the judge", ylim=(0, 1.02))
        drawing.percent(recognised.yaxis)


def draw_guided_samples(path: Path, results: Results) -> None:
    """Draw rows of unguided samples, each above a row of guided samples from the same noise."""
    arrays, bands = results.arrays(IMAGES), []
    for start in range(0, 3 * drawing.COLUMNS, drawing.COLUMNS):
        row = slice(start, start + drawing.COLUMNS)
        bands += [("unguided", arrays["samples"][row]), ("guided", arrays["guided"][row])]
    drawing.image_sheet(path, [(name, images) for name, images in bands if len(images)])


def draw_overview(path: Path, results: Results) -> None:
    """Draw rows of VAE, DDPM and test images. Each label states the share that the reference classifier recognises."""
    of_vae, of_ddpm = results.arrays(images_path("vae")), results.arrays(IMAGES)
    vae, ddpm = results.metrics("vae"), results.metrics("ddpm")

    def recognised(name: str, numbers: Metrics, key: str = "recognisability") -> str:
        return f"{name}\n{written(numbers.number(key), PERCENT)}"

    bands = [
        (recognised("VAE, N(0, I)", vae), of_vae["samples"]),
        (recognised("VAE, fitted prior", vae, "fitted_prior.recognisability"), of_vae["fitted_samples"]),
        (recognised("VAE, reconstructions", vae, "reconstruction_same_class"), of_vae["epoch_reconstructions"][-1]),
        (recognised("DDPM", ddpm), of_ddpm["samples"]),
        (recognised("DDPM, guided", ddpm, "guided.recognisability"), of_ddpm["guided"]),
        (recognised("test images", ddpm, "real_recognisability"), of_vae["originals"]),
    ]
    drawing.image_sheet(path, [(name, images[:10]) for name, images in bands], columns=10)


FIGURES = (
    generated_figures.wall_clock(28, "ddpm", f"Figure {VAE_WALL_CLOCK} shows the same for the VAE."),
    *(generated_figures.samples_after_epoch(number, "ddpm", epoch) for number, epoch in enumerate(SNAPSHOTS, start=29)),
    *(figure for index, t in enumerate(REPORT_TIMES) for figure in strips(35 + 2 * index, t)),
    *generated_figures.final_samples(
        39,
        "ddpm",
        f"The report calls them better than the VAE's, figures {VAE_FINAL_SAMPLES} to {VAE_FINAL_SAMPLES + 4}.",
        (
            "The judge recognises {ddpm:recognisability} of the DDPM's samples, {vae!v:recognisability} of the VAE's "
            "and {ddpm!v:real_recognisability} of test images.",
            "Sharpness ratio, where 1 is as sharp as real images: DDPM {ddpm:sharpness_ratio}, VAE "
            "{vae:sharpness_ratio}.",
            "Fréchet distance to the test images: DDPM {ddpm:frechet_distance}, VAE {vae:frechet_distance}, training "
            "images {ddpm!v:frechet_floor}.",
            "Precision of the DDPM's samples {ddpm:precision}, recall {ddpm:recall}.",
            "The DDPM needs at most {ddpm:vlb_bpd} bits per dimension for a test image.",
        ),
    ),
    Figure(
        number=52,
        slug="ddpm_restoration_rate",
        title="Restoration against t",
        caption="Test images noised to t and restored. Bands are intervals over images. Dashed lines mark the report's "
        "t = 30 and t = 120.",
        draw=draw_restoration_rate,
        result=restoration_rate,
    ),
    Figure(
        number=54,
        slug="ddpm_sampling_cost",
        title="Sampling cost against quality",
        caption="Fréchet distance of samples from the same weights with several samplers, against the time per image. "
        "Numbers are steps, bars are intervals.",
        draw=draw_sampling_cost,
        result=best_sampler,
    ),
    Figure(
        number=56,
        slug="ddpm_restorations",
        title="Restorations of many digits from many t",
        caption="The first test images, and below them the same images restored from increasing t.",
        draw=draw_restorations,
        result="{ddpm:restoration.0.same_class} of test images keep their class when restored from t = "
        "{ddpm:restoration.0.t}, and {ddpm:restoration.-1.same_class} from t = {ddpm:restoration.-1.t}.",
        shows_data=True,
    ),
    Figure(
        number=64,
        slug="ddpm_guidance",
        title="Guidance by an earlier checkpoint",
        caption="Quality of samples that are moved away from the predictions of an earlier checkpoint of the same "
        "network (autoguidance), against the weight of guidance. Bars are intervals.",
        draw=draw_guidance,
        result="With weight {ddpm:guided.weight} and the checkpoint of epoch {ddpm:guided.epoch} the Fréchet distance "
        "is {ddpm:guided.frechet_distance} instead of {ddpm:frechet_distance}, and the judge recognises "
        "{ddpm:guided.recognisability} instead of {ddpm:recognisability}.",
    ),
    Figure(
        number=65,
        slug="ddpm_guided_samples",
        title="Samples with and without guidance",
        caption="The first samples without guidance, each above the sample from the same noise with guidance.",
        draw=draw_guided_samples,
        result="With guidance the sharpness ratio is {ddpm:guided.sharpness_ratio} instead of {ddpm:sharpness_ratio}, "
        "precision {ddpm:guided.precision} instead of {ddpm:precision}, recall {ddpm:guided.recall} instead of "
        "{ddpm:recall}.",
    ),
    Figure(
        number=66,
        slug="generated_overview",
        title="Images of both models",
        caption="The first images of each type, not selected, and the share of all images that the judge recognises. "
        "For reconstructions, it is the share in which the judge reads the class of the original.",
        draw=draw_overview,
        result="Fréchet distance: VAE {vae:frechet_distance}, with the fitted prior "
        "{vae:fitted_prior.frechet_distance}; DDPM {ddpm:frechet_distance}, with guidance "
        "{ddpm:guided.frechet_distance}.",
        shows_data=True,
    ),
)
