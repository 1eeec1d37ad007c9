"""Name, meaning and format of every number that the pipeline writes, from metrics.yaml."""

from pathlib import Path

from triptych.core.schema import read_yaml
from triptych.report.reader import Metrics
from triptych.report.record import Metric


def collapse_in_words(metrics: Metrics) -> str:
    """Return `no`, or the kind of collapse and its first epoch: `complete from epoch 2`."""
    if not metrics.values["collapsed"]:
        return "no"
    kind, since = metrics.value("collapse_kind"), metrics.value("collapsed_since_epoch")
    return (kind or "yes") + ("" if since is None else f" from epoch {since}")


def _metric(key: str, entry: dict) -> Metric:
    reference, reference_name = entry.get("reference", ("", ""))
    more = {"words": collapse_in_words, "tells": ("collapsed_since_epoch",)} if key == "collapsed" else {}
    return Metric(key, **entry | {"reference": reference, "reference_name": reference_name} | more)


SECTIONS: dict[str, tuple[Metric, ...]] = {
    section: tuple(_metric(key, entry) for key, entry in entries.items())
    for section, entries in read_yaml(Path(__file__).with_name("metrics.yaml")).items()
}
# Measured again of samples that the same weights give in another way: the prefix of their keys, and their name.
OTHER_SAMPLES = {"fitted_prior": "fitted prior", "guided": "guided"}
COMPARED = ("frechet_distance", "recognisability", "sharpness_ratio", "precision", "recall")
for _prefix, _name in OTHER_SAMPLES.items():
    SECTIONS[_prefix] = tuple(
        Metric(f"{_prefix}.{metric.key}", f"{metric.name}, {_name}", metric.meaning, metric.format)
        for metric in SECTIONS["samples"]
        if metric.key in COMPARED
    )


def metrics(*sections: str) -> tuple[Metric, ...]:
    """Return the metrics of sections of metrics.yaml, in the order in which they are shown."""
    return tuple(metric for section in sections for metric in SECTIONS[section])


# Every key. A reference without an entry of its own has the format of the number that is compared with it.
METRICS: dict[str, Metric] = {
    metric.reference: Metric(metric.reference, f"{metric.name}, {metric.reference_name}", format=metric.format)
    for metric in metrics(*SECTIONS)
    if metric.reference
} | {metric.key: metric for metric in metrics(*SECTIONS)}
