"""The restorations from a time, as figures and claims quote them."""

from triptych.report.reader import Metrics, Results, UnmeasuredError


def restored_from(results: Results, t: int) -> Metrics:
    """The row of the restorations from a time.

    Raises:
        UnmeasuredError: nothing was restored from it.
    """
    metrics = results.metrics("ddpm")
    for row in metrics.rows("restoration"):
        if row.number("t") == t:
            return row
    raise UnmeasuredError(
        f"{metrics.path} holds no restoration from t = {t}; add it to sampling.ddpm.restoration.times"
    )
