"""Figures 58 to 62: one for each thing that the report says of SimSiam's rivals."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from triptych.report.drawing import dots, panels
from triptych.report.drawing.curves import Level, unit_of_time
from triptych.report.drawing.dots import Dot, Series
from triptych.report.drawing.panels import Panel
from triptych.report.reader import Results
from triptych.report.record import Figure
from triptych.ssl.words import notes
from triptych.ssl.words.equal_terms import KNN, spent_course
from triptych.ssl.words.levels import baseline_levels
from triptych.ssl.words.runs import Run, load
from triptych.ssl.words.variants import (
    ASYMSIAM,
    BASELINE,
    BATCH_SIZES,
    BYOL,
    DIMS,
    DSSL,
    HEAVY,
    NO_COVARIANCE,
    NO_VARIANCE,
    OWN_COLOURS,
    REVERSE,
    SYMMETRIC,
    VICREG,
    described,
)

GROUP = "The rivals"
LABEL = "kNN accuracy, test images"
DOTS = "Dots: mean over seeds, with intervals over test images and seeds; small dots: each seed."
HEIGHT = 3.9  # inches, of the plots


def draw_barlow_twins(path: Path, results: Results) -> None:
    """kNN accuracy over the batch size and over the width of the output."""
    sizes = _in_order(_labelled(results, BATCH_SIZES), _batch_size)
    dims = _in_order(_labelled(results, DIMS), _dim)
    levels = _levels([*sizes, *dims])
    plots = [
        dots.Settings(title, [f"{setting(run):,}" for run in runs], [_series("", runs)], label, levels)
        for title, runs, setting, label in (
            ("Batch size", sizes, _batch_size, f"images of a step, output {_dim(sizes[1]):,}"),
            ("Width of the output", dims, _dim, f"dimensions of the projector, batches of {_batch_size(dims[1]):,}"),
        )
    ]
    dots.by_setting(
        path,
        plots,
        LABEL,
        HEIGHT,
        "Barlow Twins: no large batch needed, and better the wider?",
        notes.sentences(
            "Barlow Twins makes the dimensions of two views agree and repeat no other; it has no predictor, "
            "stop-gradient or momentum encoder. It does without large batches if the left line is level, and gains "
            "from dimensions if the right one rises. All see as many images, so that larger batches make fewer steps; "
            "the weight of the second term is held constant per dimension.",
            DOTS,
        ),
    )


def draw_heavy_views(path: Path, results: Results) -> None:
    """SimSiam and BYOL with standard and with heavy views, and DSSL with both."""
    pairs = [_labelled(results, (name, HEAVY[name])) for name in (BASELINE, BYOL)]
    [dssl] = _labelled(results, (DSSL,))
    series = [_series(pair[0].label, pair) for pair in pairs]
    series.append(Series(dssl.label, dssl.curve.colour, [_dot(dssl, 2)]))
    given = pairs[0][1].settings.own.get("views", {}).get("heavy", {})
    dots.by_setting(
        path,
        [
            dots.Settings(
                "",
                ["standard views", "heavy views", "heavy views,\npulled to standard ones"],
                series,
                levels=_levels([dssl, *pairs[0], *pairs[1]]),
            )
        ],
        LABEL,
        HEIGHT,
        "Heavy augmentation: who is misled, and who gains",
        notes.sentences(
            "Heavy views are altered so much (RandAugment"
            + (f": {described(given)}" if given else "")
            + ") that two of them may have little in common. A falling line: the method is misled. DSSL compares each "
            "heavy view with the standard one that it is made of, and moves only the heavy one.",
            DOTS,
        ),
    )


def draw_vicreg_terms(path: Path, results: Results) -> None:
    """Spread, rank and kNN accuracy over epochs, with all terms and without each of two."""
    whole, no_variance, no_covariance = load(results, (VICREG, NO_VARIANCE, NO_COVARIANCE))
    runs = [whole, no_variance.painted(OWN_COLOURS["no_stop_gradient"]), no_covariance.painted("#00796B")]
    least = results.param("evaluation.ssl.collapse")
    curves = [run.curve for run in runs]
    ends = ["all terms", "without\nvariance", "without\ncovariance"]
    shown = [
        Panel(
            "embedding_std",
            "Spread, training images",
            "embedding std",
            curves,
            limits=(-0.05, 1.08 * max(1.0, *(curve.history["embedding_std"].max() for curve in curves))),
            zone=(-0.05, least["embedding_std"]),
        ),
        Panel(
            "effective_rank",
            "Directions in use, test images",
            "effective rank",
            curves,
            limits=(0.8, None),
            logarithmic=True,
            zone=(0.8, least["effective_rank"]),
        ),
    ]
    if all(KNN in run.metrics for run in runs):
        levels = baseline_levels(whole.metrics, KNN)
        shown.append(Panel(KNN, LABEL, "", curves, limits=(0, None), levels=levels, form=".0%", ends=ends))
    else:
        shown[-1] = replace(shown[-1], ends=ends)
    panels.in_a_row(
        path,
        shown,
        HEIGHT,
        "VICReg: what each of its terms is for",
        notes.sentences(
            "VICReg lets two views agree, asks of every dimension some variance, and forbids dimensions to vary "
            "together. Without the variance term images should become one point, the spread fall into the shaded zone "
            "of collapse; without the covariance term dimensions should repeat each other, and fewer directions be in "
            "use.",
            notes.spread_of_seeds(runs),
        ),
    )


def draw_byol(path: Path, results: Results) -> None:
    """kNN accuracy of both over the images seen and over the seconds of training."""
    runs = _labelled(results, (BASELINE, BYOL))
    courses = {run.name: spent_course(results, run.name) for run in runs}
    longest = max(float(course.groupby("seed")["seconds"].max().mean()) for course in courses.values())
    unit, length = unit_of_time(longest)
    curves = [
        replace(run.curve, history=courses[run.name].assign(time=courses[run.name]["seconds"] / length)) for run in runs
    ]
    levels = baseline_levels(runs[0].metrics, KNN)
    top = max([level.value for level in levels] + [curve.history[KNN].max() for curve in curves])
    shown = {"limits": (0, min(1.02, 1.1 * top)), "levels": levels, "form": ".0%"}
    panels.in_a_row(
        path,
        [
            Panel(KNN, "At equal images", LABEL, curves, x="images", x_label="images seen", **shown),
            Panel(
                KNN,
                "At equal time",
                "",
                curves,
                x="time",
                x_label=f"{unit} of training",
                ends=[run.label for run in runs],
                **shown,
            ),
        ],
        HEIGHT,
        "BYOL with its momentum teacher, and SimSiam without",
        notes.sentences(
            "BYOL predicts what a moving average of itself makes of the other view; SimSiam takes itself in place of "
            "that teacher and stops the gradient. Both should rise above pixels and the untrained encoder, which have "
            "learned nothing. The teacher costs a further pass of the network, so compare at equal time too.",
            notes.spread_of_seeds(runs),
        ),
    )


def draw_asymmetry(path: Path, results: Results) -> None:
    """The views of source and target the same, different, and exchanged."""
    runs = _labelled(results, (SYMMETRIC, ASYMSIAM, REVERSE))
    asymmetric = runs[1].settings.recipe
    seen = [
        f"The {branch} branch sees {described(asymmetric[branch]) if asymmetric.get(branch) else 'the usual views'}"
        for branch in ("source", "target")
    ]
    dots.by_setting(
        path,
        [
            dots.Settings(
                "",
                [
                    "the same views\nfor both",
                    "source stronger,\ntarget weaker",
                    "exchanged: source weaker,\ntarget stronger",
                ],
                [Series("", run.curve.colour, [_dot(run, place)]) for place, run in enumerate(runs)],
                levels=_levels(runs),
            )
        ],
        LABEL,
        HEIGHT,
        "AsymSiam: stronger views for the branch that learns",
        notes.sentences(
            "The source is the branch that predicts and learns, the target the one that is only compared with. The "
            "claim holds if the middle stands above the left, and the right does not.",
            f"{seen[0]}. {seen[1]}.",
            DOTS,
        ),
    )


def _labelled(results: Results, names: Sequence[str]) -> list[Run]:
    runs = load(results, names)
    for run in runs:
        if KNN not in run.metrics:
            raise run.metrics.missing(KNN)
    return runs


def _levels(runs: Sequence[Run]) -> list[Level]:
    """The baselines of the run with the most seeds."""
    return baseline_levels(max(runs, key=lambda run: run.curve.seeds).metrics, KNN)


def _series(label: str, runs: Sequence[Run]) -> Series:
    return Series(label, runs[0].curve.colour, [_dot(run, place) for place, run in enumerate(runs)])


def _dot(run: Run, place: float) -> Dot:
    seeds = [row.number(KNN) for row in run.metrics.rows("seeds") if KNN in row]
    return Dot(place, run.metrics.estimate(KNN), seeds, run.collapsed)


def _in_order(runs: Sequence[Run], setting: Callable[[Run], int]) -> list[Run]:
    return sorted(runs, key=setting)


def _batch_size(run: Run) -> int:
    return run.settings.recipe["training"]["batch_size"]


def _dim(run: Run) -> int:
    return run.settings.recipe["projector_dim"]


RIVALS = (
    Figure(
        number=58,
        slug="simsiam_barlow_twins",
        title="Barlow Twins over batch size and width",
        caption="The report says that Barlow Twins needs no large batch and gains from dimensions: look for a level "
        "line at the left and a rising one at the right.",
        group=GROUP,
        draw=draw_barlow_twins,
        saw="kNN accuracy is {ssl/barlow_small_batch:knn_accuracy} with the smallest batch and "
        "{ssl/barlow_large_batch:knn_accuracy} with the largest, {ssl/barlow_narrow:knn_accuracy} with the narrowest "
        "output and {ssl/barlow_wide:knn_accuracy} with the widest.",
    ),
    Figure(
        number=59,
        slug="simsiam_heavy_views",
        title="Heavy augmentation of SimSiam, BYOL and DSSL",
        caption="The report says that heavy views mislead SimSiam, a momentum encoder eases this and DSSL solves it: "
        "compare how far each line falls.",
        group=GROUP,
        draw=draw_heavy_views,
        saw="With heavy views kNN accuracy is {ssl/simsiam_heavy:knn_accuracy} instead of {ssl/simsiam:knn_accuracy} "
        "for SimSiam, {ssl/byol_heavy:knn_accuracy} instead of {ssl/byol:knn_accuracy} for BYOL, and "
        "{ssl/dssl:knn_accuracy} for DSSL.",
    ),
    Figure(
        number=60,
        slug="simsiam_vicreg_terms",
        title="VICReg without its variance and covariance terms",
        caption="The report says that the variance term prevents collapse and the covariance term decorrelates: look "
        "at the spread without the first, and at the directions in use without the second.",
        group=GROUP,
        draw=draw_vicreg_terms,
        saw="Embedding std and effective rank end at {ssl/vicreg:embedding_std} and {ssl/vicreg:effective_rank} with "
        "all terms, at {ssl/vicreg_no_variance:embedding_std} and {ssl/vicreg_no_variance:effective_rank} without "
        "variance, and at {ssl/vicreg_no_covariance:embedding_std} and {ssl/vicreg_no_covariance:effective_rank} "
        "without covariance.",
    ),
    Figure(
        number=61,
        slug="simsiam_byol",
        title="BYOL and SimSiam at equal images and at equal time",
        caption="The report sets BYOL's momentum teacher against SimSiam without one: look at whether both rise, and "
        "which is ahead where both have cost the same.",
        group=GROUP,
        draw=draw_byol,
        saw="kNN accuracy ends at {ssl/byol:knn_accuracy} for BYOL after {timing/ssl/byol!d:seconds_total} and at "
        "{ssl/simsiam:knn_accuracy} for SimSiam after {timing/ssl/simsiam!d:seconds_total}.",
    ),
    Figure(
        number=62,
        slug="simsiam_asymmetry",
        title="Stronger views for the source than for the target",
        caption="The report says that asymmetric augmentation helps: compare the same views for both branches with "
        "stronger ones for the source, and with the exchange.",
        group=GROUP,
        draw=draw_asymmetry,
        saw="kNN accuracy is {ssl/asymsiam_symmetric:knn_accuracy} with the same views for both branches, "
        "{ssl/asymsiam:knn_accuracy} with stronger ones for the source, and {ssl/asymsiam_reverse:knn_accuracy} "
        "exchanged.",
    ),
)
