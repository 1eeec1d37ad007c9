"""What the figures of the third study say below their titles, from the numbers in the files."""

from collections.abc import Sequence

from triptych.results.formatting import PERCENT, written, written_device
from triptych.results.reader import Metrics
from triptych.studies.ssl.runs import Run
from triptych.studies.ssl.variants import REPORT_DIMS

UNTRAINED = "untrained encoder"


def accuracy(metrics: Metrics, key: str) -> str:
    """`58.7 % (56.5 to 60.9 %)`."""
    return written(metrics.value(key), PERCENT)


def collapse_of(metrics: Metrics) -> str:
    """`collapsed (complete) since epoch 3`, or `not collapsed`."""
    if not metrics.number("collapsed"):
        return "not collapsed"
    since = metrics.value("collapsed_since_epoch")
    return f"collapsed ({metrics.value('collapse_kind')})" + ("" if since is None else f" since epoch {since}")


def spread_of_seeds(runs: Sequence[Run]) -> str:
    """What lines and bands are."""
    seeds = max(run.curve.seeds for run in runs)
    return "One seed, so no bands." if seeds == 1 else f"Lines: mean of {seeds} seeds; bands: from lowest to highest."


def stands_for(runs: Sequence[Run]) -> str:
    """Which of the report's widths the true ones stand for; empty where they are the report's."""
    scaled = [
        f"{run.settings.dim} for {REPORT_DIMS[run.name]}" for run in runs if run.settings.dim != REPORT_DIMS[run.name]
    ]
    return f"Scaled-down run: projector output {' and '.join(scaled)} of the report." if scaled else ""


def knn_note(runs: Sequence[Run], look: str) -> str:
    """The last epoch's kNN accuracies and who collapsed."""
    floor = accuracy(runs[0].metrics, "random_init_knn_accuracy")
    reached = "; ".join(f"{run.label}: {accuracy(run.metrics, 'knn_accuracy')}" for run in runs)
    found = "; ".join(f"{run.label}: {collapse_of(run.metrics)}" for run in runs)
    return sentences(
        look,
        f"After epoch {runs[0].curve.epochs}, {reached}; {UNTRAINED}: {floor} (intervals over test images and seeds).",
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
        f"Not collapsed: {', '.join(run.label for run in well)}." if well else "",
        spread_of_seeds(runs),
    )


def comparison_note(runs: Sequence[Run]) -> str:
    """Which methods do not beat the untrained encoder, and which collapsed."""
    below = [
        run.label
        for run in runs
        if run.metrics.number("knn_accuracy") <= run.metrics.number("random_init_knn_accuracy")
    ]
    fallen = [run.label for run in runs if run.collapsed]
    return sentences(
        "Test images classified correctly from frozen features; bars: intervals over test images and seeds. Dashed and "
        "dotted: the untrained encoder's kNN and linear accuracy, which a method must beat to have learned anything.",
        f"At or below it by kNN: {', '.join(below) or 'none'}.",
        f"Collapsed (hollow): {', '.join(fallen) or 'none'}.",
    )


def cost_note(runs: Sequence[Run], timings: Sequence[Metrics]) -> str:
    """Where the times come from and how to read the curves."""
    places = dict.fromkeys(
        f"{written_device(timing.values['device'])}, {timing.values['threads']} threads" for timing in timings
    )
    return sentences(
        f"kNN accuracy against the training time of one encoder, without evaluations ({' / '.join(places)}). Look for "
        "the curve that lies highest above a given time; its end is what the whole training costs and buys.",
        spread_of_seeds(runs),
        "Bar at the end: interval over test images and seeds.",
    )


def _number(run: Run, key: str, form: str) -> str:
    return written(run.metrics.number(key), form)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def sentences(*parts: str) -> str:
    """Those that are not empty, one after another."""
    return " ".join(part for part in parts if part)
