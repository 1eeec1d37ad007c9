"""Which epoch of a run stands for an epoch that the report shows."""

from collections.abc import Callable, Iterable

from triptych.studies.sentences import Facts

REPORT_TOTAL = 30  # epochs of the report; a shorter run shows those that correspond


def stand_in(report_epoch: int, kept: Iterable[int], total: int) -> int:
    """The kept epoch nearest to the report's epoch, scaled to a run of `total` epochs."""
    return min(kept, key=lambda epoch: abs(epoch - report_epoch * total / REPORT_TOTAL))


def after_epoch(study: str, report_epoch: int, template: str) -> Callable[[Facts], str]:
    """A sentence on the weights kept after an epoch: in the template <E> stands for this run's epoch, <N> for its last.

    Args:
        study: section of params.yaml.
        report_epoch: the report's.
        template: of `studies.sentences`.
    """

    def fill(facts: Facts) -> str:
        epochs = int(facts.param(f"{study}.training.epochs"))
        epoch = stand_in(report_epoch, facts.param(f"{study}.training.snapshot_epochs"), epochs)
        return template.replace("<E>", str(epoch)).replace("<N>", str(epochs))

    return fill
