"""What the figures of the third study say below their titles, from the numbers in the files."""

from collections.abc import Sequence

from triptych.report.formatting import PERCENT, written, written_place
from triptych.report.reader import Metrics
from triptych.ssl.words.baselines import PIXELS, UNTRAINED, measured
from triptych.ssl.words.runs import Run
from triptych.ssl.words.variants import REPORT_DIMS

NAMED = 6  # runs up to which a note names each


def accuracy(metrics: Metrics, key: str) -> str:
    """`58.7 % (56.5 to 60.9 %)`."""
    return written(metrics.value(key), PERCENT)


def collapse_of(metrics: Metrics) -> str:
    """`collapsed (complete) since epoch 3`, `not collapsed`, or `collapse not measured`."""
    if "collapsed" not in metrics:
        return "collapse not measured"
    if not metrics.number("collapsed"):
        return "not collapsed"
    since = metrics.value("collapsed_since_epoch")
    return f"collapsed ({metrics.value('collapse_kind')})" + ("" if since is None else f" since epoch {since}")


def spread_of_seeds(runs: Sequence[Run]) -> str:
    """What lines and bands are."""
    counts = sorted({run.curve.seeds for run in runs})
    if counts == [1]:
        return "One seed, so no bands."
    told = " or ".join(map(str, counts))
    return f"Lines: mean of {told} seeds; bands: from lowest to highest."


def few_seeds(runs: Sequence[Run]) -> str:
    """What intervals of two seeds are worth; empty where no run has two."""
    if all(run.curve.seeds != 2 for run in runs):
        return ""
    return "With two seeds an interval of 95 % may hold the truth in only 87 of 100 repetitions; with four it is 94."


def stands_for(runs: Sequence[Run]) -> str:
    """Which of the report's widths the true ones stand for; empty where they are the report's."""
    scaled = [
        f"{run.settings.dim} for {REPORT_DIMS[run.name]}" for run in runs if run.settings.dim != REPORT_DIMS[run.name]
    ]
    return f"Scaled-down run: projector output {' and '.join(scaled)} of the report." if scaled else ""


def knn_note(runs: Sequence[Run], look: str) -> str:
    """The last epoch's kNN accuracies, those of what has learned nothing, and who collapsed."""
    reached = [f"{run.label}: {accuracy(run.metrics, 'knn_accuracy')}" for run in runs]
    nothing = [
        f"{baseline.name}: {accuracy(runs[0].metrics, f'{baseline.key}_knn_accuracy')}"
        for baseline in measured(runs[0].metrics, "knn_accuracy", (UNTRAINED, PIXELS))
    ]
    found = "; ".join(f"{run.label}: {collapse_of(run.metrics)}" for run in runs)
    return sentences(
        look,
        f"After epoch {runs[0].curve.epochs}, {'; '.join(reached + nothing)} (intervals over test images and seeds).",
        few_seeds(runs),
        f"By the embeddings, {found}.",
        spread_of_seeds(runs),
    )


def loss_note(runs: Sequence[Run], look: str) -> str:
    """The last epoch's losses, each with the spread of its embeddings."""
    reached = "; ".join(
        f"{run.label}: loss {_number(run, 'final_loss', '.3f')}, std {_number(run, 'embedding_std', '.2f')}, "
        f"{collapse_of(run.metrics)}"
        for run in runs
    )
    return sentences(
        look,
        "Embedding std: 1 when images spread evenly, 0 when all are one point.",
        f"After epoch {runs[0].curve.epochs}, {reached}.",
        spread_of_seeds(runs),
    )


def collapse_note(runs: Sequence[Run]) -> str:
    """What collapse is, and who did."""
    fallen = [run for run in runs if run.collapsed]
    well = [run for run in runs if not run.collapsed]
    return sentences(
        "Collapse: the encoder gives every image nearly the same embedding. Any two views then agree, so the loss "
        "looks like success, and nothing is learned. Look for lines that end in a shaded zone.",
        *(
            f"{_capital(run.label)}: {collapse_of(run.metrics)} (std {_number(run, 'embedding_std', '.2f')}, "
            f"rank {_number(run, 'effective_rank', '.1f')}, loss {_number(run, 'final_loss', '.2f')})."
            for run in fallen
        ),
        _not_collapsed(well),
        spread_of_seeds(runs),
    )


def _not_collapsed(well: Sequence[Run]) -> str:
    """Their names, where there is room for them."""
    if len(well) > NAMED:
        return f"The other {len(well)} did not collapse (thin; dashed: variants of a method of the same colour)."
    return f"Not collapsed: {', '.join(run.label for run in well)}." if well else ""


def comparison_note(runs: Sequence[Run]) -> str:
    """Which methods do not beat what has learned nothing, and which collapsed."""
    below = [
        run.label
        for run in runs
        if run.metrics.number("knn_accuracy") <= max(measured(run.metrics, "knn_accuracy").values(), default=0)
    ]
    fallen = [run.label for run in runs if run.collapsed]
    return sentences(
        "Test images classified correctly from frozen features, by their nearest training images and by a linear "
        "classifier; bars: intervals over test images and seeds. Lines: what has learned nothing, pixels and an "
        "encoder of random weights, which a method must beat to have learned anything.",
        f"At or below the best of them by kNN: {', '.join(below) or 'none'}.",
        f"Collapsed (hollow): {', '.join(fallen) or 'none'}.",
        seeds_of(runs),
        few_seeds(runs),
    )


def seeds_of(runs: Sequence[Run]) -> str:
    """How many seeds each run has."""
    counts = sorted({run.curve.seeds for run in runs}, reverse=True)
    if len(counts) == 1:
        return f"{counts[0]} seed{'' if counts == [1] else 's'} each."
    groups = {count: [run.label for run in runs if run.curve.seeds == count] for count in counts}
    common = max(counts, key=lambda count: len(groups[count]))
    told = [f"{count} of {', '.join(labels)}" for count, labels in groups.items() if count != common]
    return f"Seeds: {'; '.join(told)}; {common} of the others."


def cost_note(runs: Sequence[Run], timings: Sequence[Metrics]) -> str:
    """Where the times come from and how to read the dots."""
    places = dict.fromkeys(written_place(timing.values) for timing in timings)
    return sentences(
        f"Accuracy against the training time of one encoder, without evaluations ({' / '.join(places)}). Look for what "
        "stands high and far left; what is below the lines of pixels and of the untrained encoder has bought nothing. "
        "Bars: intervals over test images and seeds. Hollow: collapsed.",
        seeds_of(runs),
        few_seeds(runs),
    )


def _number(run: Run, key: str, form: str) -> str:
    return written(run.metrics.number(key), form)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def sentences(*parts: str) -> str:
    """Those that are not empty, one after another."""
    return " ".join(part for part in parts if part)
