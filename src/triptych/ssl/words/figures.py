"""The figures of the third study: the report's 44 to 50; beyond it collapse, a comparison, cost, and the rivals."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from triptych.report.drawing import comparison, curves, panels, sheets, style
from triptych.report.drawing.curves import Level
from triptych.report.drawing.panels import Panel
from triptych.report.formatting import PERCENT, written
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts
from triptych.ssl.words import notes
from triptych.ssl.words.baselines import BASELINES, measured
from triptych.ssl.words.levels import baseline_levels, chance
from triptych.ssl.words.rival_figures import RIVALS
from triptych.ssl.words.runs import Run, load
from triptych.ssl.words.variants import (
    BASELINE,
    NO_PREDICTOR,
    NO_STOP_GRADIENT,
    REPORT_DIMS,
    WIDE,
    metrics_path,
    results_path,
    widths,
)
from triptych.ssl.words.variants import title as variant_title

FLOOR = -1.0  # of a negative cosine
# The accuracies that methods are compared by.
MEASURES = {"knn_accuracy": "kNN accuracy, test images", "linear_accuracy": "linear accuracy, test images"}
READ_KNN = "Look for a curve that stays at or below the dashed line: its encoder knows no more than random weights."
READ_LOSS = "The loss is a negative cosine: −1 (dotted) is its floor, and a success only where embeddings still differ."
BEYOND = "Beyond the report"
VIEWS_TITLE, METHODS_TITLE = "The views that SimSiam saw", "All methods compared"


# A baseline and an ablation -------------------------------------------------------------------------------------------


def knn_figure(
    number: int,
    slug: str,
    ablation: str,
    title: str,
    caption: str,
    group: str,
    saw: str | Callable[[Facts], str],
    look: str,
) -> Figure:
    """kNN accuracy of the baseline and an ablation; `look` opens the note below the title."""

    def draw(path: Path, results: Results) -> None:
        runs, heading, opening = _pair(results, ablation, title, look)
        reached = [run.metrics.number("knn_accuracy") for run in runs]
        levels = baseline_levels(runs[0].metrics, "knn_accuracy") + chance(results)
        top = max([level.value for level in levels] + [run.curve.history["knn_accuracy"].max() for run in runs])
        curves.over_epochs(
            path,
            [run.curve for run in runs],
            "knn_accuracy",
            [f"{run.label}\n{written(value, PERCENT)}" for run, value in zip(runs, reached, strict=True)],
            levels,
            label="kNN accuracy, test images",
            limits=(0, min(1.02, 1.12 * top)),
            form=".0%",
            title=heading,
            note=notes.knn_note(runs, opening),
        )

    return Figure(number=number, slug=slug, title=title, caption=caption, group=group, draw=draw, saw=saw)


def loss_figure(
    number: int,
    slug: str,
    ablation: str,
    title: str,
    caption: str,
    group: str,
    saw: str | Callable[[Facts], str],
    look: str,
) -> Figure:
    """Training loss of the baseline and an ablation, above its floor; `look` opens the note below the title."""

    def draw(path: Path, results: Results) -> None:
        runs, heading, opening = _pair(results, ablation, title, look)
        top = max(0.0, *(run.curve.history["loss"].max() for run in runs))
        curves.over_epochs(
            path,
            [run.curve for run in runs],
            "loss",
            [f"{run.label}\n{written(run.metrics.number('final_loss'), '.3f')}" for run in runs],
            [Level(FLOOR, f"floor\n{written(FLOOR, '.0f')}", line=":", width=1.5)],
            label="training loss",
            limits=(FLOOR - 0.06, top + 0.03),
            form=".1f",
            title=heading,
            note=notes.loss_note(runs, opening),
        )

    return Figure(number=number, slug=slug, title=title, caption=caption, group=group, draw=draw, saw=saw)


def _pair(results: Results, ablation: str, title: str, look: str) -> tuple[list[Run], str, str]:
    """The baseline and the ablation, title and note; two widths go by those of this run, not by the report's."""
    runs = load(results, [BASELINE, ablation])
    if ablation != WIDE:
        return runs, title, look
    runs = [run.called(f"projector output {run.settings.dim}") for run in runs]
    return runs, true_widths(title, runs), notes.sentences(notes.stands_for(runs), look)


def true_widths(title: str, runs: Sequence[Run]) -> str:
    """A title of the report with the widths of this run in place of the report's."""
    here = {str(REPORT_DIMS[run.name]): str(run.settings.dim) for run in runs}
    return re.sub("|".join(here), lambda found: here[found.group()], title)


def _accuracies(ablation: str, kept: str) -> str:
    return (
        f"kNN accuracy ends at {{ssl/simsiam:knn_accuracy}} with {kept} and at {{ssl/{ablation}:knn_accuracy}} "
        "without; an untrained encoder has {ssl/simsiam!v:random_init_knn_accuracy}."
    )


def _losses(ablation: str, kept: str) -> Callable[[Facts], str]:
    """The losses at the end, and what the spread of the embeddings says of them."""
    return lambda facts: (
        f"The loss ends at {{ssl/simsiam:final_loss}} with {kept} and at {{ssl/{ablation}:final_loss}} without; the "
        f"std of the embeddings is {{ssl/simsiam:embedding_std}} with it and {{ssl/{ablation}:embedding_std}} without"
        f"{_collapse_of(ablation, facts)}."
    )


def _collapse_of(variant: str, facts: Facts) -> str:
    """`, a complete collapse from epoch 2 on`."""
    numbers = facts.content(f"ssl/{variant}")
    if numbers.get("collapsed") is None:
        return ""
    if not numbers["collapsed"]:
        return ", which is no collapse"
    kind, since = numbers.get("collapse_kind"), numbers.get("collapsed_since_epoch")
    return f", a {kind + ' ' if kind else ''}collapse" + (f" from epoch {since} on" if since is not None else "")


def _wider(template: str) -> Callable[[Facts], str]:
    """A sentence on two widths: <S> and <W> of this run; <stands> for which of the report's they stand for."""

    def fill(facts: Facts) -> str:
        pairs = widths(facts.results.params)
        if len(pairs) < 2:
            raise UnmeasuredError("ssl in params.yaml gives no two widths")
        (narrow, report_narrow), (wide, report_wide) = pairs
        same = (narrow, wide) == (report_narrow, report_wide)
        stands = f" ({narrow} and {wide} stand for the report's {report_narrow} and {report_wide})"
        words = template.replace("<S>", str(narrow)).replace("<W>", str(wide))
        return words.replace("<stands>", "" if same else stands)

    return fill


# All variants ---------------------------------------------------------------------------------------------------------


def draw_views(path: Path, results: Results) -> None:
    """Training images, each before its views."""
    load(results, [BASELINE])
    images = results.arrays(results_path(BASELINE))["views"]  # (rows, 1 + views, C, H, W)
    rows, columns = images.shape[:2]
    sheets.rows(
        path,
        images,
        VIEWS_TITLE,
        f"At the left the training image, then {columns - 1} of its views. SimSiam learns to give any two of them one "
        "embedding: ask what stays the same along a row, for that is all an encoder can keep.",
        [f"image {number + 1}" for number in range(rows)],
    )


def draw_collapse(path: Path, results: Results) -> None:
    """Loss, spread of the embeddings, their rank and kNN accuracy over epochs, and since when all seeds collapsed.

    The variants that collapsed stand out; of the others the legend names the first of each colour.
    """
    runs, thresholds = load(results), results.param("evaluation.ssl.collapse")
    for run in runs:
        run.metrics.number("collapsed")  # a figure of who collapsed takes the answer for all
    least_std, least_rank = thresholds["embedding_std"], thresholds["effective_rank"]
    # The methods whose loss is a negative cosine of unit weight.
    of_simsiam = [run for run in runs if run.settings.method == BASELINE]
    if not of_simsiam:
        raise UnmeasuredError("ssl.variants in params.yaml has no variant of SimSiam")
    everyone = [run.curve for run in runs]
    note = notes.collapse_note(runs)
    if len(of_simsiam) < len(runs):
        note += " *Of SimSiam and its ablations; losses of other methods have scales of their own."
    by_measure = [
        Panel(
            "loss",
            "Training loss: −1 is best" + ("" if len(of_simsiam) == len(runs) else "*"),
            "training loss",
            [run.curve for run in of_simsiam],
            levels=[Level(FLOOR, "floor of the loss", style.MUTED, ":", 2.0)],
            form=".1f",
        ),
        *(
            Panel(
                column,
                f"Spread, {images} images",
                "embedding std",
                everyone,
                limits=(-0.05, 1.08 * max(1.0, *(curve.history[column].max() for curve in everyone))),
                zone=(-0.05, least_std),
            )
            for images, column in (("training", "embedding_std"), ("test", "test_embedding_std"))
        ),
        Panel(
            "effective_rank",
            "Directions in use, test images",
            "effective rank",
            everyone,
            limits=(0.8, None),
            logarithmic=True,
            zone=(0.8, least_rank),
        ),
    ]
    labelled = [run for run in runs if "knn_accuracy" in run.metrics]
    if labelled:
        by_measure.append(
            Panel(
                "knn_accuracy",
                "kNN accuracy, test images",
                "kNN accuracy",
                [run.curve for run in labelled],
                limits=(0, None),
                levels=baseline_levels(labelled[0].metrics, "knn_accuracy", between=", "),
                form=".0%",
            )
        )
    fallen, well = [run for run in runs if run.collapsed], [run for run in runs if not run.collapsed]
    since = {run.name: run.metrics.value("collapsed_since_epoch") for run in fallen}
    of_colour = {run.curve.colour: run for run in reversed(well)}
    panels.by_measure(
        path,
        by_measure,
        names={run.name: f"{run.label} (collapsed)" for run in fallen},
        pale={run.name: run.label for run in well if of_colour[run.curve.colour] is run},
        marks={name: epoch for name, epoch in since.items() if epoch is not None},
        mark_name="from here on all seeds collapsed",
        zone_name=f"zone of collapse: std below\n{least_std:g}, rank below {least_rank:g}",
        title="Who collapses, when, and how one sees it",
        note=note,
    )


def draw_comparison(path: Path, results: Results) -> None:
    """kNN and linear accuracy of each variant with intervals, the best on top, and below what has learned nothing."""
    ranked = sorted(_labelled(results), key=lambda run: -run.metrics.number("knn_accuracy"))
    rows = [
        comparison.Row(
            run.label + (" (collapsed)" if run.collapsed else ""),
            run.curve.colour,
            [run.metrics.estimate(key) for key in MEASURES],
            hollow=run.collapsed,
        )
        for run in ranked
    ]
    comparison.intervals(
        path,
        list(MEASURES.values()),
        rows,
        _baseline_rows(ranked),
        form=".0%",
        title=METHODS_TITLE,
        note=notes.comparison_note(ranked),
    )


def draw_cost(path: Path, results: Results) -> None:
    """kNN and linear accuracy against the time that training one encoder took."""
    runs = _labelled(results)
    rows = [
        comparison.Row(
            run.label,
            run.curve.colour,
            [run.metrics.estimate(key) for key in MEASURES],
            hollow=run.collapsed,
            cost=elapsed(results.table(f"plots/ssl/{run.name}_timing.csv", "seconds", "seed")).iloc[-1],
        )
        for run in runs
    ]
    comparison.against_cost(
        path,
        tuple(MEASURES.values()),
        rows,
        _baseline_rows(runs),
        label="of training",
        form=".0%",
        title="What training costs, and what it buys",
        note=notes.cost_note(runs, [results.timing(f"ssl/{run.name}") for run in runs]),
    )


def elapsed(seconds: pd.DataFrame) -> pd.Series:
    """Seconds since the start of training after each epoch, the mean over seeds; seconds: epoch, seconds, seed."""
    ordered = seconds.sort_values(["seed", "epoch"])
    return ordered.assign(spent=ordered.groupby("seed")["seconds"].cumsum()).groupby("epoch")["spent"].mean()


def _baseline_rows(runs: Sequence[Run]) -> list[tuple[comparison.Row, object]]:
    """A row for each baseline that was measured and the dash of its line, of the run with the most seeds."""
    metrics = max(runs, key=lambda run: run.curve.seeds).metrics
    there = [
        baseline for baseline in BASELINES if all(baseline in measured(metrics, key, [baseline]) for key in MEASURES)
    ]
    values = {baseline: [metrics.estimate(f"{baseline.key}_{key}") for key in MEASURES] for baseline in there}
    return [(comparison.Row(entry.name, style.INK, values[entry], hollow=True), entry.dash) for entry in there]


def _labelled(results: Results) -> list[Run]:
    """The runs whose accuracies were measured."""
    every = load(results)
    runs = [run for run in every if all(key in run.metrics for key in MEASURES)]
    if not runs:
        raise every[0].metrics.missing("knn_accuracy") if every else UnmeasuredError("no variant was measured")
    return runs


def _each(opening: str, template: str) -> Callable[[Facts], str]:
    """A sentence that lists every variant that was measured, in the order of params.yaml; <V> stands for its files."""

    def fill(facts: Facts) -> str:
        names = [name for name in facts.param("ssl.variants") if facts.results.has(metrics_path(name))]
        if not names:
            raise UnmeasuredError("no variant was measured")
        told = [f"{variant_title(name)} {template.replace('<V>', f'ssl/{name}')}" for name in names]
        return f"{opening} {', '.join(told)}."

    return fill


# The records ----------------------------------------------------------------------------------------------------------

FIGURES = (
    knn_figure(
        number=44,
        slug="simsiam_stop_gradient_knn",
        ablation=NO_STOP_GRADIENT,
        title="kNN accuracy with and without stop-gradient",
        caption="The report's accuracy collapses without stop-gradient: compare both curves with that of an untrained "
        "encoder, not only with chance.",
        group="With and without stop-gradient",
        saw=_accuracies(NO_STOP_GRADIENT, "stop-gradient"),
        look=READ_KNN,
    ),
    loss_figure(
        number=45,
        slug="simsiam_stop_gradient_loss",
        ablation=NO_STOP_GRADIENT,
        title="Training loss with and without stop-gradient",
        caption="The report's loss reaches its floor without stop-gradient: a loss of −1 from the first epochs on is "
        "collapse, not success.",
        group="With and without stop-gradient",
        saw=_losses(NO_STOP_GRADIENT, "stop-gradient"),
        look=READ_LOSS,
    ),
    knn_figure(
        number=46,
        slug="simsiam_predictor_knn",
        ablation=NO_PREDICTOR,
        title="kNN accuracy with and without the predictor",
        caption="The report finds SimSiam much worse with the predictor replaced by the identity: look at the distance "
        "between the curves.",
        group="With and without the predictor",
        saw=_accuracies(NO_PREDICTOR, "the predictor"),
        look=READ_KNN,
    ),
    loss_figure(
        number=47,
        slug="simsiam_predictor_loss",
        ablation=NO_PREDICTOR,
        title="Training loss with and without the predictor",
        caption="The report shows the loss of the same two runs: look for the one that falls to −1.",
        group="With and without the predictor",
        saw=_losses(NO_PREDICTOR, "the predictor"),
        look=READ_LOSS,
    ),
    knn_figure(
        number=48,
        slug="simsiam_projector_knn",
        ablation=WIDE,
        title="kNN accuracy, projector output 2048 and 4096",
        caption="The report finds that the wider output helps: ask whether the curves differ by more than their "
        "spread, at the widths that the picture names.",
        group="Projector output",
        saw=_wider(
            "kNN accuracy ends at {ssl/simsiam:knn_accuracy} with an output of <S> and at "
            "{ssl/projector_4096:knn_accuracy} with <W><stands>; an untrained encoder has "
            "{ssl/simsiam!v:random_init_knn_accuracy}."
        ),
        look="Ask whether the curves differ by more than their bands.",
    ),
    loss_figure(
        number=49,
        slug="simsiam_projector_loss",
        ablation=WIDE,
        title="Training loss, projector output 2048 and 4096",
        caption="The report shows the loss of the same two runs: look at whether a lower loss goes with a better "
        "accuracy.",
        group="Projector output",
        saw=_wider(
            "The loss ends at {ssl/simsiam:final_loss} with an output of <S> and at {ssl/projector_4096:final_loss} "
            "with <W><stands>; the embeddings use {ssl/simsiam:effective_rank} and {ssl/projector_4096:effective_rank} "
            "directions."
        ),
        look="Ask whether the lower loss goes with the better accuracy.",
    ),
    Figure(
        number=50,
        slug="simsiam_views",
        title=VIEWS_TITLE,
        caption="The report prints its augmentation code here: one image under the augmentations of training, and what "
        "stays the same in all of its views.",
        group="Augmentation",
        draw=draw_views,
        saw="After training, two views of one test image lie at a mean squared distance of {ssl/simsiam:alignment} on "
        "the unit sphere of embeddings; unrelated directions lie at 2.",
    ),
    Figure(
        number=51,
        slug="simsiam_collapse",
        title="Collapse, epoch by epoch",
        caption="The report judges collapse by accuracy and loss: look at the spread and the rank of the embeddings, "
        "which tell a collapse from a success of equal loss.",
        group=BEYOND,
        draw=draw_collapse,
        saw=_each("Embedding std and effective rank at the end:", "{<V>:embedding_std} and {<V>:effective_rank}"),
    ),
    Figure(
        number=53,
        slug="simsiam_methods",
        title=METHODS_TITLE,
        caption="Every method at its last epoch above pixels and an untrained encoder, which have learned nothing: "
        "look for intervals that do not overlap, and for what lies left of the dashed and dotted lines.",
        group=BEYOND,
        draw=draw_comparison,
        saw=_each("kNN accuracy at the end:", "{<V>:knn_accuracy}"),
    ),
    Figure(
        number=57,
        slug="simsiam_cost",
        title="Cost against quality of the methods",
        caption="The report counts epochs, which do not cost the same in every method: look for the accuracy that a "
        "given time buys, and whether it is more than pixels give for nothing.",
        group=BEYOND,
        draw=draw_cost,
        saw=_each("kNN accuracy and time of training:", "{<V>!v:knn_accuracy} in {timing/<V>!d:seconds_total}"),
    ),
    *RIVALS,
)
