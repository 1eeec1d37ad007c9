"""Fill templates with numbers from result files. The resulting sentences appear below figures.

`{vae:recognisability}` inserts the number at the key `recognisability` of metrics/vae.json, with its interval.
`{vae!v:recognisability}` omits the interval. `{timing/vae!d:seconds_total}` inserts a duration.
`{plots/vae/latents!p:0.share}` inserts the column `share` of the first row of plots/vae/latents.csv as a percentage.
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
    """Number formatted as text, with the path of its source file and the DVC stage that writes this file."""

    text: str
    path: str
    stage: str


Sentence = list[str | Number]


@dataclass(frozen=True)
class Facts:
    """Format numbers from result files and insert them into sentences below figures."""

    results: Results
    metrics: Mapping[str, Metric]  # by key; they define the formats
    writers: Mapping[str, str]  # stage by file

    def sentence(self, figure: Figure) -> Sentence:
        """Return the sentence below a figure as a list of texts and numbers, or [] if a number is missing."""
        try:
            return self.filled(figure.result if isinstance(figure.result, str) else figure.result(self))
        except UnmeasuredError:
            return []

    def filled(self, template: str) -> Sentence:
        """Fill a template, and return texts and numbers in order. Raises UnmeasuredError if a number is missing."""
        sentence: Sentence = []
        for text, name, key, form in Formatter().parse(template):
            sentence += [text] if text else []
            sentence += [] if name is None else [self.number(name, str(key), form)]
        return sentence

    def number(self, name: str, key: str, form: str | None = None) -> Number:
        """Format the number at `key` in the file `name`. Raises UnmeasuredError if the number is missing.

        `form` is "v" (value), "d" (duration) or "p" (percentage). By default, the text includes the interval.
        """
        path, value = _path(name), self.look_up(name, key)
        if form and isinstance(value, Estimate):
            value = value.value
        metric = self.metrics.get(key.rpartition(".")[2])
        style = ".0%" if form == "p" else metric.format if metric else ".4g"
        text = duration(float(value)) if form == "d" else written(value, style)
        return Number(text, path, self.writers.get(path, ""))

    def look_up(self, name: str, key: str) -> object:
        """Return the value at a dotted key of the file `name`. Raises UnmeasuredError if the value is missing."""
        value = value_at(self.content(name), key)
        if value is None or value != value:  # a gap in a table is NaN, which differs from itself
            raise UnmeasuredError(f"{_path(name)} has no {key}")
        return value

    def content(self, name: str) -> Mapping | list[dict]:
        """Return the content of metrics/<name>.json, or the rows of <name>.csv if `name` starts with `plots/`."""
        path = _path(name)
        if not self.results.has(path):
            raise UnmeasuredError(f"{path} does not exist")
        if path.endswith(".csv"):
            return self.results.table(path).to_dict("records")
        return self.results.metrics(name).values


def plain(sentence: Sentence) -> str:
    """Join the texts and numbers of a sentence into one string."""
    return "".join(text if isinstance(text, str) else text.text for text in sentence)


def sources(sentence: Sentence) -> dict[str, str]:
    """Return a dict from the path of each file used in a sentence to the DVC stage that writes the file."""
    return {number.path: number.stage for number in sentence if isinstance(number, Number)}


def literal(text: object) -> str:
    """Escape the braces in a text, so that a template shows them unchanged."""
    return str(text).replace("{", "{{").replace("}", "}}")


def _path(name: str) -> str:
    return f"{name}.csv" if name.startswith("plots/") else f"metrics/{name}.json"
