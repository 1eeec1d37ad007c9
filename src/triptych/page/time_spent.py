"""Where the time of a run went: the seconds of each stage by what they were spent on, from the clocks of the stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from triptych.report.formatting import PERCENT, duration, written
from triptych.report.reader import Results, UnmeasuredError
from triptych.ssl.words.variants import variants

IMPORTS, DATA, STEPS, EVALUATION, DRAWING, DVC = "imports", "data", "steps", "evaluation", "drawing", "DVC"
SPENT_ON = (IMPORTS, DATA, STEPS, EVALUATION, DRAWING, DVC)
COLUMNS = ("stage", *SPENT_ON, "all", "share")
# Between two stages DVC hashes and copies what they made, in a second or a few. What is longer is a pause: the run was
# made in parts.
PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        name: the stage, or what the stages of all variants have in common.
        clocks: its files below metrics/clock, without their ending; those of all variants.
        work: the column of what it does after its imports. Of STEPS, the steps of training alone; the rest is DATA:
            reading it, building networks, saving.
    """

    name: str
    clocks: Sequence[str]
    work: str


@dataclass(frozen=True)
class Clock:
    """The times of one stage's process, in seconds since 1970; see `core.clock`."""

    name: str
    started: float
    imported: float
    ended: float


@dataclass(frozen=True)
class Spent:
    """The seconds of a row, by column; a column that it spends nothing on is missing, and all where nothing has run."""

    stage: Stage
    runs: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stage; of several variants with their number, and with how many have run where not all have."""
        every = len(self.stage.clocks)
        if every == 1:
            return self.stage.name
        return f"{self.stage.name} ({every if self.runs in (0, every) else f'{self.runs} of {every}'})"

    @property
    def total(self) -> float | None:
        """Its seconds in all; None where it has not run."""
        return sum(self.seconds.values()) if self.runs else None


@dataclass(frozen=True)
class TimeSpent:
    """The table.

    Attributes:
        rows: the stages in the order of the pipeline.
        by_the_clock: seconds from the start of the first process to the end of the last, without the pauses.
        pauses: the seconds of each pause of more than PAUSE_SECONDS between two stages.
    """

    rows: list[Spent]
    by_the_clock: float
    pauses: list[float]

    @property
    def body(self) -> list[list[str]]:
        """The cells of each row, below COLUMNS."""
        return [[row.name, *_cells(row), _seconds(row.total), self._share(row.total)] for row in self.rows]

    @property
    def foot(self) -> list[list[str]]:
        """The cells of the sums of the columns, and of their shares."""
        sums = [sum(row.seconds.get(column, 0) for row in self.rows) for column in SPENT_ON]
        shares = [self._share(seconds) for seconds in sums]
        return [["all", *map(_seconds, sums), _seconds(self._total), ""], ["share", *shares, "", ""]]

    @property
    def sentence(self) -> str:
        """The time by the clock, and what is not in it."""
        text = (
            f"By the clock it took {duration(self.by_the_clock)} from the first stage to the last one before the page"
        )
        if not self.pauses:
            return f"{text}."
        count = "a pause" if len(self.pauses) == 1 else f"{len(self.pauses)} pauses"
        long = f"of more than {PAUSE_SECONDS:g} s between two stages, {duration(sum(self.pauses))} in all"
        return f"{text}, without {count} {long}: this run was made in parts."

    @property
    def _total(self) -> float:
        return sum(row.total or 0 for row in self.rows)

    def _share(self, seconds: float | None) -> str:
        return written(None if seconds is None else seconds / self._total, PERCENT)


def stages(params: Mapping) -> list[Stage]:
    """Every stage but `report`, whose own time cannot stand on the page that it makes."""
    each = list(variants(params))
    return [
        Stage("prepare", ["prepare"], DATA),
        Stage("classifier", ["classifier"], STEPS),
        Stage("evaluate_classifier", ["evaluate_classifier"], EVALUATION),
        Stage("vae", ["vae"], STEPS),
        Stage("sample@vae", ["sample/vae"], EVALUATION),
        Stage("evaluate_vae", ["evaluate_vae"], EVALUATION),
        Stage("ddpm", ["ddpm"], STEPS),
        Stage("sample@ddpm", ["sample/ddpm"], EVALUATION),
        Stage("evaluate_ddpm", ["evaluate_ddpm"], EVALUATION),
        Stage("ssl@*", [f"ssl/{name}" for name in each], STEPS),
        Stage("ssl_baselines", ["ssl_baselines"], EVALUATION),
        Stage("evaluate_ssl@*", [f"evaluate_ssl/{name}" for name in each], EVALUATION),
        Stage("claims", ["claims"], EVALUATION),
        Stage("figures", ["figures"], DRAWING),
    ]


def time_spent(results: Results) -> TimeSpent | None:
    """The table of a run; None where no stage has left its clock.

    Raises:
        InputError: a file is damaged.
    """
    every = stages(results.params)
    clocks = [clock for stage in every for name in stage.clocks if (clock := _clock(name, results))]
    if not clocks:
        return None
    ordered = sorted(clocks, key=lambda clock: clock.started)
    waits = _waits(ordered)
    pauses = [seconds for seconds in waits.values() if seconds > PAUSE_SECONDS]
    work = {clock.name: clock for clock in clocks}
    rows = [_row(stage, [work[name] for name in stage.clocks if name in work], waits, results) for stage in every]
    whole = max(clock.ended for clock in clocks) - ordered[0].started
    return TimeSpent(rows, whole - sum(pauses), pauses)


def _clock(name: str, results: Results) -> Clock | None:
    if not results.has(f"metrics/clock/{name}.json"):
        return None
    times = results.metrics(f"clock/{name}")
    try:
        return Clock(name, *map(times.number, ("started", "imported", "ended")))
    except UnmeasuredError:
        return None


def _waits(ordered: Sequence[Clock]) -> dict[str, float]:
    """The seconds after each clock until the next process was started; none where that one had started before."""
    waits, end = {}, ordered[0].ended
    for clock, following in pairwise(ordered):
        end = max(end, clock.ended)
        waits[clock.name] = max(0.0, following.started - end)
    return waits


def _row(stage: Stage, clocks: Sequence[Clock], waits: Mapping[str, float], results: Results) -> Spent:
    found: dict[str, float] = {}
    for clock in clocks:
        for column, seconds in _by_column(stage, clock, results).items():
            found[column] = found.get(column, 0) + seconds
        wait = waits.get(clock.name, 0)
        found[DVC] = found.get(DVC, 0) + (wait if wait <= PAUSE_SECONDS else 0)
    return Spent(stage, len(clocks), found)


def _by_column(stage: Stage, clock: Clock, results: Results) -> dict[str, float]:
    imports, work = clock.imported - clock.started, clock.ended - clock.imported
    if stage.work != STEPS:
        return {IMPORTS: imports, stage.work: work}
    timing = results.timing(clock.name).values if results.has(f"metrics/timing/{clock.name}.json") else {}
    # By the clock, also of several seeds side by side. A training that was resumed counts seconds of earlier processes.
    steps = min(work, timing.get("seconds_total", 0))
    return {IMPORTS: imports, DATA: work - steps, STEPS: steps}


def _cells(row: Spent) -> list[str]:
    """The seconds by column: empty where a stage spends none, a dash in each where it has not run."""
    return [_seconds(row.seconds.get(column)) if column in row.seconds or not row.runs else "" for column in SPENT_ON]


def _seconds(value: float | None) -> str:
    return written(value, ",.1f")
