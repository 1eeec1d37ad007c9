"""The result line of a figure: a template whose numbers are read from the files that the pipeline wrote.

`{vae:recognisability}` is that key of metrics/vae.json with its interval, `{vae!v:recognisability}` for the
value alone, `{timing/vae!d:seconds_total}` for seconds as a duration, `{plots/vae/latents!p:0.share}` for an entry of a
table as a whole percentage. A key may lead into a list, by the position of an entry or by a value in it:
`sampling.0.steps`, `restoration.t=30.ssim`. Where a number is missing the line is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from triptych.measures.estimate import Estimate, joined
from triptych.report.formatting import duration, written
from triptych.report.reader import Results, UnmeasuredError
from triptych.report.record import Figure, Metric


@dataclass(frozen=True)
class Number:
    """A number of a sentence, ready to print, with the file that it comes from and the stage that wrote it."""

    text: str
    path: str
    stage: str


Sentence = list[str | Number]


@dataclass(frozen=True)
class Facts:
    """The numbers that sentences quote. A number that does not exist raises UnmeasuredError."""

    results: Results
    metrics: Mapping[str, Metric]  # of every key, for the format of its number
    writers: Mapping[str, str]  # the stage that writes each file

    def sentence(self, figure: Figure) -> Sentence:
        """Return the result line of a figure; empty where a number for it is missing."""
        try:
            return self.filled(figure.result if isinstance(figure.result, str) else figure.result(self))
        except UnmeasuredError:
            return []

    def filled(self, template: str) -> Sentence:
        """Fill in the numbers of a template."""
        sentence: Sentence = []
        for text, name, key, form in Formatter().parse(template):
            sentence += [text] if text else []
            sentence += [] if name is None else [self.number(name, str(key), form)]
        return sentence

    def number(self, name: str, key: str, form: str | None = None) -> Number:
        """Return a number with its interval; form: "v" for the value alone, "d" a duration, "p" a percentage."""
        path, value = _path(name), self.look_up(name, key)
        if form and isinstance(value, Estimate):
            value = value.value
        metric = self.metrics.get(key.rpartition(".")[2])
        style = ".0%" if form == "p" else metric.format if metric else ".4g"
        text = duration(float(value)) if form == "d" else written(value, style)
        return Number(text, path, self.writers.get(path, ""))

    def look_up(self, name: str, key: str) -> object:
        """Return a value, as an estimate where it has an interval."""
        value: object = self.content(name)
        for step in key.split("."):
            value = _entry(value, step)
        if value is None or value != value:  # a gap in a table is NaN, which differs from itself
            raise UnmeasuredError(f"{_path(name)} has no {key}")
        return value

    def content(self, name: str) -> Mapping | list[dict]:
        """Return the numbers of metrics/<name>.json, or the rows of the table <name>.csv."""
        path = _path(name)
        if not self.results.has(path):
            raise UnmeasuredError(f"there is no {path}")
        if path.endswith(".csv"):
            return self.results.table(path).to_dict("records")
        return self.results.metrics(name).values


def plain(sentence: Sentence) -> str:
    """Return the sentence without its links."""
    return "".join(text if isinstance(text, str) else text.text for text in sentence)


def sources(sentence: Sentence) -> dict[str, str]:
    """Return the files that a sentence quotes, each with the stage that wrote it."""
    return {number.path: number.stage for number in sentence if isinstance(number, Number)}


def literal(text: object) -> str:
    """Escape untrusted text for use in a template."""
    return str(text).replace("{", "{{").replace("}", "}}")


def _path(name: str) -> str:
    return f"{name}.csv" if name.startswith("plots/") else f"metrics/{name}.json"


def _entry(entries: object, step: str) -> object:
    """Return the value of a mapping's key, or the entry of a list by position or `key=value`; None: there is none."""
    if isinstance(entries, Mapping):
        return joined(entries, step) or entries.get(step)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    key, is_pair, wanted = step.partition("=")
    if is_pair:
        return next((entry for entry in entries if written(entry.get(key), ".10g") == wanted), None)
    is_position = step.removeprefix("-").isdigit() and -len(entries) <= int(step) < len(entries)
    return entries[int(step)] if is_position else None
