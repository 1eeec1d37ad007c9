"""Time per stage of a run, from the start and end times that each stage writes to metrics/clock."""

from collections.abc import Mapping, Sequence

from triptych.core.errors import InputError
from triptych.page.tables import Table
from triptych.report.formatting import PERCENT, duration, written
from triptych.report.reader import Results
from triptych.ssl.words.variants import variants

COLUMNS = ("stage", "imports", "work", "all", "share")
# Between two stages DVC hashes and copies outputs for a few seconds. A longer gap means that the run was paused.
PAUSE_SECONDS = 60.0

Clock = tuple[float, float, float]  # process started, imports done, work done: seconds since 1970


def stages(params: Mapping) -> dict[str, list[str]]:
    """Return the names of the timing files for each row of the time table.

    The `report` stage has no row, because it reads the timing files of the other stages.
    """
    names = list(variants(params))
    generative = [name for model in ("vae", "ddpm") for name in (model, f"sample/{model}", f"evaluate_{model}")]
    return {
        **{name.replace("/", "@"): [name] for name in ("prepare", "classifier", "evaluate_classifier", *generative)},
        "ssl@*": [f"ssl/{name}" for name in names],
        "ssl_baselines": ["ssl_baselines"],
        "evaluate_ssl@*": [f"evaluate_ssl/{name}" for name in names],
        "claims": ["claims"],
        "figures": ["figures"],
    }


def time_spent(results: Results) -> tuple[Table, str] | None:
    """Return the table of seconds per stage and a sentence on wall-clock time, or None without any timing file."""
    files = stages(results.params)
    clocks = {row: [clock for name in names if (clock := _clock(name, results))] for row, names in files.items()}
    in_order = sorted(clock for of_row in clocks.values() for clock in of_row)
    if not in_order:
        return None
    seconds = {
        row: (sum(clock[1] - clock[0] for clock in of_row), sum(clock[2] - clock[1] for clock in of_row))
        for row, of_row in clocks.items()
    }
    sums = [sum(column) for column in zip(*seconds.values(), strict=True)]
    lines = []
    for row, names in files.items():
        ran, planned = len(clocks[row]), len(names)
        count = f" ({planned if ran in (0, planned) else f'{ran} of {planned}'})" if planned > 1 else ""
        lines.append([f"{row}{count}", *(_cells(seconds[row], sum(sums)) if ran else "––––")])
    totals = [["all", *_cells(sums, sum(sums))]]
    return Table("Time per stage, in seconds", COLUMNS, lines, totals), _wall_clock(in_order)


def time_markdown(results: Results) -> str:
    """Return the time table and the sentence below it in Markdown. Raises InputError without any timing file."""
    spent = time_spent(results)
    if spent is None:
        raise InputError(f"{results.root / 'metrics/clock'}: no stage has written its time; run `dvc repro` first")
    table, sentence = spent
    return f"{table.markdown()}\n\n{sentence}\n"


def _clock(name: str, results: Results) -> Clock | None:
    times = results.metrics(f"clock/{name}").values if results.has(f"metrics/clock/{name}.json") else {}
    return (times["started"], times["imported"], times["ended"]) if "ended" in times else None


def _cells(seconds: Sequence[float], whole: float) -> list[str]:
    return [*(written(value, ",.1f") for value in (*seconds, sum(seconds))), written(sum(seconds) / whole, PERCENT)]


def _wall_clock(clocks: Sequence[Clock]) -> str:
    """Describe the time from the first start to the last end. Stages may overlap, as in queued experiments."""
    gaps, (first, _, end) = [], clocks[0]
    for started, _, ended in clocks[1:]:
        gaps.append(max(0.0, started - end))
        end = max(end, ended)
    pauses = [gap for gap in gaps if gap > PAUSE_SECONDS]
    text = f"Wall-clock time without the report stage: {duration(end - first - sum(pauses))}"
    text += f", of which {duration(sum(gaps) - sum(pauses))} between stages (DVC)."
    if not pauses:
        return text
    count = "one pause" if len(pauses) == 1 else f"{len(pauses)} pauses"
    return f"{text} Not counted: {count} of more than {PAUSE_SECONDS:g} s, {duration(sum(pauses))} in total."
