"""Figures of the SimSiam study: figures 44 to 50 of the report, and comparisons of all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.report import drawing
from triptych.report.reader import Metrics, Results, UnmeasuredError
from triptych.report.record import Figure
from triptych.report.sentences import Facts
from triptych.ssl.words import variants
from triptych.ssl.words.compared import KNN, spent_course
from triptych.ssl.words.variants import BASELINES, PIXELS, SIMSIAM, UNTRAINED, WIDE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINEAR, LOSS = "linear_accuracy", "loss"
STD, RANK = "embedding_std", "effective_rank"
LABELS = {
    LOSS: "training loss",
    STD: "embedding std, training",
    f"test_{STD}": "embedding std, test",
    RANK: "effective rank, test",
    KNN: "kNN accuracy, test images",
    LINEAR: "linear accuracy, test images",
}
MOST_LINES = 8  # coloured lines in one chart
LOSS_FLOOR = -1.0  # of a negative cosine
RIVALS = "The rivals"
SEEDS = "Lines are means over seeds. Bands range from the lowest to the highest seed."
INTERVALS = "Bars are intervals over test images and seeds. Hollow dots are variants that collapsed."
SAME_RUNS = "The report shows the losses of the same two runs."
SINGLE_SEEDS = "Bars are intervals over test images and seeds. Small dots are single seeds."


@dataclass(frozen=True, eq=False)
class Run:
    """Data of a variant for figures: settings, metrics, training log, label and line style."""

    name: str
    label: str
    settings: variants.Settings
    metrics: Metrics
    history: pd.DataFrame  # see `history`
    line: Mapping[str, object]  # color and linestyle for matplotlib

    @property
    def collapsed(self) -> bool:
        return bool(self.metrics.value("collapsed"))


def load(results: Results, names: Sequence[str] = (), need: Sequence[str] = ()) -> list[Run]:
    """Return a Run per variant in `names` (default: all). Raises UnmeasuredError if a metric in `need` is missing."""
    trained = variants.variants(results.params)
    lines = variants.lines(trained)
    runs = []
    for name in names or trained:
        metrics = variants.metrics_of(results, name)
        for key in need:
            metrics.number(key)
        runs.append(Run(name, variants.title(name), trained[name], metrics, history(results, name), lines[name]))
    return runs


def history(results: Results, name: str) -> pd.DataFrame:
    """Return the training log with a row per epoch and seed. Snapshot metrics are NaN in epochs without a snapshot."""
    training = results.table(f"plots/ssl/{name}_training.csv", "epoch", "seed", LOSS, STD)
    course = results.table(f"plots/ssl/{name}_course.csv", "epoch", "seed")
    return training.merge(course, how="left", on=["epoch", "variant", "seed"])


def draw_baselines(
    line: Callable, runs: Sequence[Run], key: str = KNN, wanted: Iterable[str] = (UNTRAINED, PIXELS)
) -> None:
    """Call `line`, for example `Axes.axhline`, with the accuracy `key` of each measured baseline in `wanted`."""
    metrics = max(runs, key=lambda run: run.history["seed"].nunique()).metrics
    for baseline in wanted:
        if f"{baseline}_{key}" in metrics:
            style = {"color": drawing.INK, "linestyle": variants.BASELINE_DASHES[baseline], "linewidth": 1.2}
            line(metrics.number(f"{baseline}_{key}"), **style, zorder=1, label=BASELINES[baseline])


def ablation_figures(
    first: int, slug: str, ablation: str, title: str, names: tuple[str, str], accuracy: str, loss: str = SAME_RUNS
) -> tuple[Figure, Figure]:
    """Return two figures that compare SimSiam with the variant `ablation`: kNN accuracy, and training loss.

    `first` is the number of the first figure. `slug` is part of the file names, and `title` is part of the titles.
    `names` are names of SimSiam and of the ablation in texts. `accuracy` and `loss` are sentences for the two captions.
    """

    def draw(path: Path, results: Results, column: str) -> None:
        runs = load(results, (SIMSIAM, ablation), need=(KNN,) if column == KNN else ("final_loss",))
        with drawing.chart(path, legend=2) as [[axes]]:
            for run in runs:
                label = f"projector output {run.settings.dim}" if ablation == WIDE else run.label
                drawing.curve(axes, run.history, "epoch", column, label=label, **run.line)
            axes.set(xlabel="epoch", ylabel=LABELS[column])
            if column == KNN:
                draw_baselines(axes.axhline, runs)
                classes = len(results.metrics("data").values["ssl"]["classes"])
                axes.axhline(1 / classes, color=drawing.MUTED, linestyle="-.", linewidth=1, label="chance")
                axes.set_ylim(0, None)
                drawing.percent(axes.yaxis)
            else:
                axes.axhline(LOSS_FLOOR, color=drawing.MUTED, linestyle=":", label="lowest possible loss")

    def values(key: str) -> str:
        return f"{names[0]} {{ssl/{SIMSIAM}:{key}}}, {names[1]} {{ssl/{ablation}:{key}}}"

    return (
        Figure(
            number=first,
            slug=f"simsiam_{slug}_knn",
            title=f"kNN accuracy {title}",
            caption=f"Accuracy of a kNN classifier on frozen features after each measured epoch. {accuracy} {SEEDS}",
            draw=lambda path, results: draw(path, results, KNN),
            result=f"At the end: {values(KNN)}; untrained encoder {{ssl/{SIMSIAM}!v:random_init_{KNN}}}.",
            group=title.capitalize(),
        ),
        Figure(
            number=first + 1,
            slug=f"simsiam_{slug}_loss",
            title=f"Training loss {title}",
            caption=f"Negative cosine similarity of the embeddings of two views, at least −1. {loss} {SEEDS}",
            draw=lambda path, results: draw(path, results, LOSS),
            result=f"Loss at the end: {values('final_loss')}. Embedding std: {values(STD)}.",
            group=title.capitalize(),
        ),
    )


def draw_views(path: Path, results: Results) -> None:
    """Draw training images. Each row shows one image, followed by augmented views of it."""
    load(results, (SIMSIAM,))
    images = results.arrays(variants.results_path(SIMSIAM))["views"]  # (rows, 1 + views, C, H, W)
    bands = [(f"image {number}", row) for number, row in enumerate(images, start=1)]
    drawing.image_sheet(path, bands, columns=images.shape[1])


def draw_course(
    path: Path, results: Results, columns: Sequence[str], runs: Sequence[Run], others: Sequence[Run] = ()
) -> None:
    """Draw one chart over epochs for each metric in `columns`, with `runs` in colour and `others` in grey.

    The chart of kNN accuracy is omitted if a run lacks this metric. The legend follows the last chart.
    """
    thresholds = results.param("evaluation.ssl.collapse")
    everyone = [*runs, *others]
    columns = [column for column in columns if column != KNN or all(KNN in run.metrics for run in everyone)]
    rows = -(-(len(columns) + 1) // 2)
    with drawing.chart(path, rows, 2, height=2.9 * rows) as cells:
        for axes, column in zip(cells.flat, columns, strict=False):
            shown = [run for run in everyone if column != LOSS or run.settings.method == SIMSIAM]
            for run in shown:
                if run in others:
                    mean = run.history.groupby("epoch")[column].mean().dropna()
                    axes.plot(mean.index, mean, color="#bbbbbb", linewidth=0.8, zorder=1.5)
                else:
                    drawing.curve(axes, run.history, "epoch", column, markersize=4, **run.line)
            axes.set(xlabel="epoch", ylabel=LABELS[column] + (" (SimSiam)" if column == LOSS else ""))
            if column == KNN:
                draw_baselines(axes.axhline, everyone)
                drawing.percent(axes.yaxis)
            elif column != LOSS:
                least = thresholds[RANK if column == RANK else STD]
                axes.axhspan(0.8 if column == RANK else 0, least, color=drawing.COLLAPSED, linewidth=0, zorder=0)
            if column == RANK:
                axes.set(yscale="log", ylim=(0.8, None))
                axes.yaxis.set_major_formatter("{x:g}")
            elif column != LOSS:
                axes.set_ylim(0, None)
        for axes in cells.flat[len(columns) :]:
            axes.set_axis_off()
        legend = cells.flat[len(columns)]
        for run in runs:
            legend.plot([], [], label=run.label, **run.line)
        if others:
            legend.plot([], [], color="#bbbbbb", linewidth=0.8, label="other variants")
        legend.fill_between([], [], color=drawing.COLLAPSED, label="counts as collapsed")
        if KNN in columns:
            draw_baselines(lambda value, **line: legend.plot([], [], **line), everyone)
        legend.legend(loc="upper left")


def draw_collapse(path: Path, results: Results) -> None:
    """Draw loss, spread, effective rank and kNN accuracy over epochs. Highlight SimSiam and the collapsed variants."""
    runs = load(results, need=("collapsed",))
    marked = [run for run in runs if run.name == SIMSIAM] + [run for run in runs if run.collapsed]
    marked = marked[:MOST_LINES]
    columns = (LOSS, STD, f"test_{STD}", RANK, KNN)
    draw_course(path, results, columns, marked, [run for run in runs if run not in marked])


def draw_interval(axes: Axes, run: Run, position: float, key: str = KNN, row: bool = False) -> None:
    """Draw the accuracy `key` of a variant with its confidence interval. The marker of a collapsed variant is hollow.

    If `row` is True, the interval is horizontal, and `position` is its y coordinate. Otherwise, it is vertical, with a
    dot for each seed, and `position` is its x coordinate.
    """
    estimate, colour = run.metrics.estimate(key), run.line["color"]
    bar = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
    style = {"fmt": "o", "color": colour, "markerfacecolor": "white" if run.collapsed else colour, "zorder": 3}
    if row:
        axes.errorbar(estimate.value, position, xerr=bar, **style)
        return
    axes.errorbar(position, estimate.value, yerr=bar, **style)
    seeds = [seed.number(key) for seed in run.metrics.rows("seeds") if key in seed]
    axes.plot([position - 0.1] * len(seeds), seeds, ".", color=colour, alpha=0.5)


def draw_rows(path: Path, runs: Sequence[Run], keys: Sequence[str], minutes: Mapping[str, float] | None = None) -> None:
    """Draw one row per variant: the accuracies `keys` with intervals and, if given, the `minutes` of training."""
    charts = len(keys) + bool(minutes)
    with drawing.chart(path, 1, charts, sharey=True, height=1.2 + 0.26 * len(runs), legend=3) as [cells]:
        for axes, key in zip(cells, keys, strict=False):
            for row, run in enumerate(runs):
                draw_interval(axes, run, row, key, row=True)
            draw_baselines(axes.axvline, runs, key, BASELINES)
            axes.set(xlim=(0, 1.02), xticks=(0.25, 0.5, 0.75), xlabel=LABELS[key].replace(", ", ",\n"))
            drawing.percent(axes.xaxis)
        if minutes:
            colours = [run.line["color"] for run in runs]
            cells[-1].barh(range(len(runs)), [minutes[run.name] for run in runs], color=colours, height=0.6)
            cells[-1].set(xlabel="minutes of training,\none seed")
        cells[0].set_yticks(range(len(runs)), [run.label for run in runs])
        cells[0].set_ylim(len(runs) - 0.5, -0.5)


def draw_comparison(path: Path, results: Results) -> None:
    """Draw the kNN and linear accuracies of each variant, in descending order of kNN accuracy."""
    runs = load(results, need=(KNN, LINEAR))
    draw_rows(path, sorted(runs, key=lambda run: -run.metrics.number(KNN)), (KNN, LINEAR))


def draw_cost(path: Path, results: Results) -> None:
    """Draw the kNN accuracy and training time of each variant, in ascending order of training time."""
    runs = load(results, need=(KNN,))
    minutes = {}
    for run in runs:
        seconds = results.table(f"plots/ssl/{run.name}_timing.csv", "seconds", "seed")
        minutes[run.name] = seconds.groupby("seed")["seconds"].sum().mean() / 60
    draw_rows(path, sorted(runs, key=lambda run: minutes[run.name]), (KNN,), minutes)


def measured_variants(facts: Facts, folder: str, key: str) -> dict[str, float]:
    """Return each variant's metric `key` from metrics/<folder>. Raises UnmeasuredError if no variant has `key`."""
    names = variants.variants(facts.results.params)
    files = {name: f"{folder}/{name}" for name in names if facts.results.has(f"metrics/{folder}/{name}.json")}
    metrics = {name: facts.results.metrics(file) for name, file in files.items()}
    if not any(key in one for one in metrics.values()):
        raise UnmeasuredError(f"no variant has {key}")
    return {name: one.number(key) for name, one in metrics.items() if key in one}


def collapsed_variants(facts: Facts) -> str:
    """Return a sentence that counts and names the collapsed variants."""
    answers = measured_variants(facts, "ssl", "collapsed")
    names = [variants.title(name) for name, collapsed in answers.items() if collapsed]
    return f"{len(names)} of {len(answers)} variants count as collapsed" + (f": {', '.join(names)}." if names else ".")


def best_variant(facts: Facts) -> str:
    """Return a sentence that names the variant with the highest kNN accuracy."""
    accuracies = measured_variants(facts, "ssl", KNN)
    best = max(accuracies, key=accuracies.get)
    return (
        f"Highest kNN accuracy: {variants.title(best)}, {{ssl/{best}:{KNN}}}; pixels {{ssl/{best}!v:pixel_{KNN}}}, "
        f"untrained encoder {{ssl/{best}!v:random_init_{KNN}}}."
    )


def cheapest_variant(facts: Facts) -> str:
    """Return a sentence that names the variants with the shortest and the longest training time per epoch."""
    seconds = measured_variants(facts, "timing/ssl", "seconds_per_epoch")
    shortest, longest = min(seconds, key=seconds.get), max(seconds, key=seconds.get)
    return (
        f"Seconds per epoch: from {{timing/ssl/{shortest}:seconds_per_epoch}} ({variants.title(shortest)}) to "
        f"{{timing/ssl/{longest}:seconds_per_epoch}} ({variants.title(longest)})."
    )


# Ticks of the x axis, its label, and lines that join runs at their positions.
Chart = tuple[Sequence[str], str, Sequence[Sequence[tuple[Run, float]]]]


def draw_settings(path: Path, *charts: Chart, named: bool = False) -> None:
    """Draw charts of kNN accuracy against settings, side by side. If `named` is True, the legend names the lines."""
    with drawing.chart(path, 1, len(charts), sharey=True, legend=3) as [cells]:
        everyone = [run for *_, lines in charts for line in lines for run, _ in line]
        for axes, (ticks, label, lines) in zip(cells, charts, strict=True):
            for line in lines:
                runs, positions = zip(*line, strict=True)
                accuracies = [run.metrics.number(KNN) for run in runs]
                name = runs[0].label if named else None
                axes.plot(positions, accuracies, "o-", color=runs[0].line["color"], label=name)
                for run, position in line:
                    draw_interval(axes, run, position)
            draw_baselines(axes.axhline, everyone)
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set(xlabel=label, xlim=(-0.5, len(ticks) - 0.5))
            axes.grid(axis="x", visible=False)
        cells[0].set_ylabel(LABELS[KNN])
        drawing.percent(cells[0].yaxis)


def draw_barlow_twins(path: Path, results: Results) -> None:
    """Draw the kNN accuracy of Barlow Twins against batch size and against projector output width."""

    def chart(names: Sequence[str], setting: Callable[[Run], int], label: str) -> Chart:
        runs = sorted(load(results, names, need=(KNN,)), key=setting)
        return [f"{setting(run):,}" for run in runs], label, [[(run, position) for position, run in enumerate(runs)]]

    def batch_size(run: Run) -> int:
        return run.settings.recipe["training"]["batch_size"]

    batches, widths = ("barlow_small_batch", "barlow_large_batch"), ("barlow_narrow", "barlow_wide")
    charts = [
        chart(("barlow_twins", *batches), batch_size, "batch size\n(equal epochs)"),
        chart(("barlow_twins", *widths), lambda run: run.settings.dim, "projector output\n(equal epochs)"),
    ]
    steps = tuple(f"{name}_steps" for name in batches)
    if set(steps) <= set(variants.variants(results.params)):
        charts.insert(1, chart(("barlow_twins", *steps), batch_size, "batch size\n(equal steps)"))
    draw_settings(path, *charts)


def draw_heavy_views(path: Path, results: Results) -> None:
    """Draw the kNN accuracy of SimSiam and BYOL with standard and heavy views, and of DSSL with both."""
    names = (SIMSIAM, "simsiam_heavy", "byol", "byol_heavy", "dssl")
    simsiam, simsiam_heavy, byol, byol_heavy, dssl = load(results, names, need=(KNN,))
    ticks = ["standard views", "heavy views", "heavy views next to\nstandard ones"]
    lines = [[(simsiam, -0.06), (simsiam_heavy, 0.94)], [(byol, 0.06), (byol_heavy, 1.06)], [(dssl, 2)]]
    draw_settings(path, (ticks, "", lines), named=True)


def draw_vicreg_terms(path: Path, results: Results) -> None:
    """Draw spread, rank and kNN accuracy of VICReg with all terms, without variance, and without covariance."""
    runs = load(results, ("vicreg", "vicreg_no_variance", "vicreg_no_covariance"))
    draw_course(path, results, (STD, RANK, KNN), runs)


def draw_byol(path: Path, results: Results) -> None:
    """Draw the kNN accuracy of SimSiam and BYOL against images seen and against minutes of training."""
    runs = load(results, (SIMSIAM, "byol"), need=(KNN,))
    with drawing.chart(path, 1, 2, sharey=True, legend=2) as [cells]:
        for run in runs:
            course = spent_course(results, run.name)
            course["minutes"] = course.groupby("epoch")["seconds"].transform("mean") / 60
            for axes, x in zip(cells, ("images", "minutes"), strict=True):
                drawing.curve(axes, course, x, KNN, label=run.label, **run.line)
        for axes, label in zip(cells, ("images seen", "minutes of training"), strict=True):
            draw_baselines(axes.axhline, runs)
            axes.set(xlabel=label, ylabel=LABELS[KNN], xlim=(0, None), ylim=(0, None))
        cells[0].locator_params(axis="x", nbins=4)
        cells[0].xaxis.set_major_formatter("{x:,.0f}")
        drawing.percent(cells[0].yaxis)


def draw_asymmetry(path: Path, results: Results) -> None:
    """Draw the kNN accuracy of AsymSiam with stronger source views, stronger target views, and equal views."""
    controls = {"asymsiam_strong": "stronger\nfor both", "asymsiam_weak": "weaker\nfor both"}
    ticks = {
        **{"asymsiam_symmetric": "shared views\nfor both"},
        **{name: text for name, text in controls.items() if name in variants.variants(results.params)},
        **{"asymsiam": "stronger\nsource", "asymsiam_reverse": "stronger\ntarget"},
    }
    runs = load(results, tuple(ticks), need=(KNN,))
    draw_settings(path, (list(ticks.values()), "", [[(run, position)] for position, run in enumerate(runs)]))


FIGURES = (
    *ablation_figures(
        first=44,
        slug="stop_gradient",
        ablation="no_stop_gradient",
        title="with and without stop-gradient",
        names=("with stop-gradient", "without"),
        accuracy="In the report, accuracy collapses without stop-gradient.",
        loss="In the report, the loss reaches −1 without stop-gradient, which means collapse and not success.",
    ),
    *ablation_figures(
        first=46,
        slug="predictor",
        ablation="no_predictor",
        title="with and without the predictor",
        names=("with the predictor", "without"),
        accuracy="In the report, accuracy is much lower without the predictor.",
    ),
    *ablation_figures(
        first=48,
        slug="projector",
        ablation=WIDE,
        title="with two sizes of the projector output",
        names=("smaller output", "larger output"),
        accuracy="The report compares 2048 and 4096 dimensions and finds the larger output better.",
    ),
    Figure(
        number=50,
        slug="simsiam_views",
        title="Augmented views of training images",
        caption="A training image at the left, followed by views of it. SimSiam learns to give any two views the same "
        "embedding.",
        group="Augmentation",
        draw=draw_views,
        result="Mean squared distance between the embeddings of two views of a test image: {ssl/simsiam:alignment}; "
        "unrelated embeddings have 2.",
    ),
    Figure(
        number=51,
        slug="simsiam_collapse",
        title="Collapse over epochs",
        caption=f"SimSiam and the variants that collapsed, with all others in grey. {SEEDS} Values in the shaded range "
        "count as collapsed.",
        draw=draw_collapse,
        result=collapsed_variants,
    ),
    Figure(
        number=53,
        slug="simsiam_methods",
        title="Accuracy of all methods",
        caption=f"kNN and linear accuracy on frozen features after the last epoch. {INTERVALS} Vertical lines are "
        "baselines that have learned nothing.",
        draw=draw_comparison,
        result=best_variant,
    ),
    Figure(
        number=57,
        slug="simsiam_cost",
        title="Accuracy and training time of all methods",
        caption=f"kNN accuracy after the last epoch, and the training time of one encoder. {INTERVALS}",
        draw=draw_cost,
        result=cheapest_variant,
    ),
    Figure(
        number=58,
        slug="simsiam_barlow_twins",
        title="Barlow Twins with several batch sizes and output sizes",
        caption=f"kNN accuracy after the last epoch. {SINGLE_SEEDS} The report says that Barlow Twins needs no large "
        "batch and gains from a larger output.",
        group=RIVALS,
        draw=draw_barlow_twins,
        result="kNN accuracy: {ssl/barlow_small_batch:knn_accuracy} with the smallest batch, "
        "{ssl/barlow_large_batch:knn_accuracy} with the largest, {ssl/barlow_narrow:knn_accuracy} with the smallest "
        "output, {ssl/barlow_wide:knn_accuracy} with the largest.",
    ),
    Figure(
        number=59,
        slug="simsiam_heavy_views",
        title="Heavy augmentation of SimSiam, BYOL and DSSL",
        caption=f"kNN accuracy after the last epoch. {SINGLE_SEEDS} The report says that heavy views mislead SimSiam, "
        "mislead BYOL less, and help DSSL.",
        group=RIVALS,
        draw=draw_heavy_views,
        result="kNN accuracy with heavy views: SimSiam {ssl/simsiam_heavy:knn_accuracy} (standard views "
        "{ssl/simsiam!v:knn_accuracy}), BYOL {ssl/byol_heavy:knn_accuracy} (standard views "
        "{ssl/byol!v:knn_accuracy}). DSSL, with both types of views: {ssl/dssl:knn_accuracy}.",
    ),
    Figure(
        number=60,
        slug="simsiam_vicreg_terms",
        title="VICReg without its variance and covariance terms",
        caption=f"Spread and rank of the embeddings, and kNN accuracy. {SEEDS} The report says that the variance term "
        "prevents collapse and the covariance term decorrelates.",
        group=RIVALS,
        draw=draw_vicreg_terms,
        result="Embedding std and effective rank: {ssl/vicreg!v:embedding_std} and {ssl/vicreg!v:effective_rank} with "
        "all terms, {ssl/vicreg_no_variance!v:embedding_std} and {ssl/vicreg_no_variance!v:effective_rank} without "
        "variance, {ssl/vicreg_no_covariance!v:embedding_std} and {ssl/vicreg_no_covariance!v:effective_rank} without "
        "covariance.",
    ),
    Figure(
        number=61,
        slug="simsiam_byol",
        title="BYOL and SimSiam against images seen and training time",
        caption=f"kNN accuracy against the number of images seen and against training time. {SEEDS}",
        group=RIVALS,
        draw=draw_byol,
        result="kNN accuracy at the end: BYOL {ssl/byol:knn_accuracy} with {timing/ssl/byol:seconds_per_epoch} s per "
        "epoch, SimSiam {ssl/simsiam:knn_accuracy} with {timing/ssl/simsiam:seconds_per_epoch} s per epoch.",
    ),
    Figure(
        number=62,
        slug="simsiam_asymmetry",
        title="AsymSiam with stronger views for the source than for the target",
        caption=f"kNN accuracy after the last epoch. {SINGLE_SEEDS} The source is the branch that learns. The report "
        "says that it should see the stronger views.",
        group=RIVALS,
        draw=draw_asymmetry,
        result="kNN accuracy: {ssl/asymsiam_symmetric:knn_accuracy} with the same views for both branches, "
        "{ssl/asymsiam:knn_accuracy} with a stronger source, {ssl/asymsiam_reverse:knn_accuracy} with a stronger "
        "target.",
    ),
)
