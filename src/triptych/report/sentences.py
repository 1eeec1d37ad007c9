"""Result lines: the text below each figure, which a template forms from numbers in the files of the run.

`{vae:recognisability}` inserts a number of metrics/vae.json with its interval, and `{vae!v:recognisability}` the value
alone. `{timing/vae!d:seconds_total}` inserts seconds as a duration, and `{plots/vae/latents!p:0.share}` a value in the
first row of a table as a percentage. For keys, see `reader.value_at`. If a number is missing, the line is omitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from triptych.measures.estimate import Estimate
from triptych.report.formatting import duration, written
from triptych.report.reader import Results, UnmeasuredError, value_at
from triptych.report.record import Figure, Metric


@dataclass(frozen=True)
class Number:
    """A number as text, with the path of its file and the stage that wrote the file."""

    text: str
    path: str
    stage: str


Sentence = list[str | Number]


@dataclass(frozen=True)
class Facts:
    """The numbers of a run, for use in sentences. A missing number raises UnmeasuredError."""

    results: Results
    metrics: Mapping[str, Metric]  # by key; they define the formats
    writers: Mapping[str, str]  # stage by file

    def sentence(self, figure: Figure) -> Sentence:
        """Return the result line of a figure, or an empty list if a number is missing."""
        try:
            return self.filled(figure.result if isinstance(figure.result, str) else figure.result(self))
        except UnmeasuredError:
            return []

    def filled(self, template: str) -> Sentence:
        """Return the sentence that results from inserting the numbers into a template."""
        sentence: Sentence = []
        for text, name, key, form in Formatter().parse(template):
            sentence += [text] if text else []
            sentence += [] if name is None else [self.number(name, str(key), form)]
        return sentence

    def number(self, name: str, key: str, form: str | None = None) -> Number:
        """Return a number with its interval or, for the form "v", "d" or "p", only a value, duration or percentage."""
        path, value = _path(name), self.look_up(name, key)
        if form and isinstance(value, Estimate):
            value = value.value
        metric = self.metrics.get(key.rpartition(".")[2])
        style = ".0%" if form == "p" else metric.format if metric else ".4g"
        text = duration(float(value)) if form == "d" else written(value, style)
        return Number(text, path, self.writers.get(path, ""))

    def look_up(self, name: str, key: str) -> object:
        """Return the value at `key` of the file `name`. A number with a confidence interval is an Estimate."""
        value = value_at(self.content(name), key)
        if value is None or value != value:  # a gap in a table is NaN, which differs from itself
            raise UnmeasuredError(f"{_path(name)} has no {key}")
        return value

    def content(self, name: str) -> Mapping | list[dict]:
        """Return the content of metrics/<name>.json or, if `name` starts with `plots/`, the rows of <name>.csv."""
        path = _path(name)
        if not self.results.has(path):
            raise UnmeasuredError(f"{path} does not exist")
        if path.endswith(".csv"):
            return self.results.table(path).to_dict("records")
        return self.results.metrics(name).values


def plain(sentence: Sentence) -> str:
    """Return a sentence as plain text, without links."""
    return "".join(text if isinstance(text, str) else text.text for text in sentence)


def sources(sentence: Sentence) -> dict[str, str]:
    """Map the path of each file that a sentence quotes to the stage that wrote the file."""
    return {number.path: number.stage for number in sentence if isinstance(number, Number)}


def literal(text: object) -> str:
    """Escape braces in text from outside, so that a template prints the text unchanged."""
    return str(text).replace("{", "{{").replace("}", "}}")


def _path(name: str) -> str:
    return f"{name}.csv" if name.startswith("plots/") else f"metrics/{name}.json"
