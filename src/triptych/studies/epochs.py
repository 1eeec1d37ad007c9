"""Which epoch of a run stands for an epoch that the report shows."""


def stand_in(report_epoch: int, report_total: int, kept: list[int], total: int) -> int:
    """The kept epoch nearest to the report's epoch, scaled to a run of `total` epochs."""
    return min(kept, key=lambda epoch: abs(epoch - report_epoch * total / report_total))
