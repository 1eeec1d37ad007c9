"""Result lines, the texts below figures. A template is filled with numbers from the files of the run.

`{vae:recognisability}` inserts the number `recognisability` of metrics/vae.json with its interval.
`{vae!v:recognisability}` omits the interval. `{timing/vae!d:seconds_total}` inserts a duration.
`{plots/vae/latents!p:0.share}` inserts a percentage, the value of the column `share` in the first row of
plots/vae/latents.csv. If a number is missing, the result line is omitted.
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
    """A number formatted as text, the path of the file that contains the number, and the stage that wrote the file."""

    text: str
    path: str
    stage: str


Sentence = list[str | Number]


@dataclass(frozen=True)
class Facts:
    """Access to the numbers of a run for use in result lines. A missing number raises UnmeasuredError."""

    results: Results
    metrics: Mapping[str, Metric]  # by key; they define the formats
    writers: Mapping[str, str]  # stage by file

    def sentence(self, figure: Figure) -> Sentence:
        """Return the result line of a figure as a list of texts and numbers, or an empty list if any is missing."""
        try:
            return self.filled(figure.result if isinstance(figure.result, str) else figure.result(self))
        except UnmeasuredError:
            return []

    def filled(self, template: str) -> Sentence:
        """Fill a template with numbers, and return the resulting sentence as a list of texts and numbers."""
        sentence: Sentence = []
        for text, name, key, form in Formatter().parse(template):
            sentence += [text] if text else []
            sentence += [] if name is None else [self.number(name, str(key), form)]
        return sentence

    def number(self, name: str, key: str, form: str | None = None) -> Number:
        """Look up and format a number. The forms "v" (value), "d" (duration) and "p" (percentage) omit its interval."""
        path, value = _path(name), self.look_up(name, key)
        if form and isinstance(value, Estimate):
            value = value.value
        metric = self.metrics.get(key.rpartition(".")[2])
        style = ".0%" if form == "p" else metric.format if metric else ".4g"
        text = duration(float(value)) if form == "d" else written(value, style)
        return Number(text, path, self.writers.get(path, ""))

    def look_up(self, name: str, key: str) -> object:
        """Return the value at `key` in the file `name`; see `content`. Numbers with intervals become Estimates."""
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
    """Return a sentence as one string, without the sources of its numbers."""
    return "".join(text if isinstance(text, str) else text.text for text in sentence)


def sources(sentence: Sentence) -> dict[str, str]:
    """Return a dict that maps the path of each file used in a sentence to the stage that wrote the file."""
    return {number.path: number.stage for number in sentence if isinstance(number, Number)}


def literal(text: object) -> str:
    """Return a text with its braces escaped, so that a template does not treat them as placeholders."""
    return str(text).replace("{", "{{").replace("}", "}}")


def _path(name: str) -> str:
    return f"{name}.csv" if name.startswith("plots/") else f"metrics/{name}.json"
