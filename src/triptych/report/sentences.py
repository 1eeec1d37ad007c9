"""What this run shows in a figure: one sentence whose numbers are read from the files that the pipeline wrote.

A sentence is a template. `{vae:recognisability}` stands for that key of metrics/vae.json with its interval,
`{vae!v:recognisability}` for the value alone, `{timing/vae!d:seconds_total}` for seconds as a duration,
`{plots/vae/latents!p:0.share}` for an entry of a table as a whole percentage. A key may lead into a list, by the
place of an entry or by a value in it: `sampling.0.steps`, `restoration.t=30.ssim`. A sentence of which any number is
missing is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from triptych.measures.estimate import Estimate, joined
from triptych.report.formatting import duration, written
from triptych.report.reader import Results, UnmeasuredError, value_at
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
    """What sentences are made of.

    Attributes:
        results: the run's.
        metrics: the words of every key.
        writers: every file that a sentence may quote, with the stage that writes it.
    """

    results: Results
    metrics: Mapping[str, Metric]
    writers: Mapping[str, str]

    def sentence(self, figure: Figure) -> Sentence:
        """What this run shows in the figure; empty where a number for it is missing."""
        try:
            return self.filled(figure.saw if isinstance(figure.saw, str) else figure.saw(self))
        except UnmeasuredError:
            return []

    def filled(self, template: str) -> Sentence:
        """The template with its numbers.

        Raises:
            UnmeasuredError: one of them does not exist.
        """
        sentence: Sentence = []
        for text, name, key, how in Formatter().parse(template):
            sentence += [text] if text else []
            sentence += [] if name is None else [self.number(name, str(key), how)]
        return sentence

    def number(self, name: str, key: str, how: str | None = None) -> Number:
        """A number with its interval; or by `how` the value alone ("v"), a duration ("d") or a percentage ("p").

        Raises:
            UnmeasuredError: there is no such number.
        """
        path, value = _path(name), self.look_up(name, key)
        if how and isinstance(value, Estimate):
            value = value.value
        known = self.metrics.get(key.rpartition(".")[2])
        form = ".0%" if how == "p" else known.format if known else ".4g"
        text = duration(float(value)) if how == "d" else written(value, form)
        return Number(text, path, self.writers.get(path, ""))

    def look_up(self, name: str, key: str) -> object:
        """A value; with its interval where it has one.

        Raises:
            UnmeasuredError: there is no such file, key or value.
        """
        value: object = self.content(name)
        for part in key.split("."):
            value = _inside(value, part)
        if value is None or value != value:  # a gap in a table is not a number, and unlike itself
            raise UnmeasuredError(f"{_path(name)} holds no {key}")
        return value

    def content(self, name: str) -> Mapping | list[dict]:
        """What the file of that name holds: a mapping of numbers, or the rows of a table.

        Raises:
            UnmeasuredError: there is no such file.
        """
        path = _path(name)
        if not self.results.has(path):
            raise UnmeasuredError(f"there is no {path}")
        if path.endswith(".csv"):
            return self.results.table(path).to_dict("records")
        return self.results.metrics(name).values

    def param(self, key: str) -> object:
        """A value of params.yaml.

        Raises:
            UnmeasuredError: there is none.
        """
        value = value_at(self.results.params, key)
        if value is None:
            raise UnmeasuredError(f"params.yaml holds no {key}")
        return value


def plain(sentence: Sentence) -> str:
    """The sentence without its links."""
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


def sources(sentence: Sentence) -> dict[str, str]:
    """The files that a sentence quotes, each with the stage that wrote it."""
    return {part.path: part.stage for part in sentence if isinstance(part, Number)}


def literal(text: object) -> str:
    """Text from outside as it stands in a template."""
    return str(text).replace("{", "{{").replace("}", "}}")


def _path(name: str) -> str:
    return f"{name}.csv" if name.startswith("plots/") else f"metrics/{name}.json"


def _inside(entries: object, part: str) -> object:
    """The value of a mapping's key, or the entry of a list by position or `key=value`; None where there is none."""
    if isinstance(entries, Mapping):
        return joined(entries, part) or entries.get(part)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return None
    key, is_pair, wanted = part.partition("=")
    if is_pair:
        return next((entry for entry in entries if written(entry.get(key), ".10g") == wanted), None)
    is_place = part.removeprefix("-").isdigit() and -len(entries) <= int(part) < len(entries)
    return entries[int(part)] if is_place else None
