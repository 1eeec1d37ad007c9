"""The clock of a stage: when its process was started, when its imports had ended, and when its work had."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from triptych.core.files import write_json

FOLDER = Path("metrics/clock")


@contextmanager
def stage_clock(stage: str) -> Iterator[None]:
    """Leaves metrics/clock/<stage>.json when the work inside has ended well: three times in seconds since 1970, UTC.

    `started` is the start of this process, `imported` the moment at which the work inside began, `ended` that at which
    it was done. Of several processes of one launch, the leading one writes; after an error, none does.

    Args:
        stage: its name, e.g. `vae`, `ssl/simsiam`.
    """
    imported = time.time()
    yield
    if int(os.environ.get("RANK", 0)) == 0:
        times = {"started": min(process_start(), imported), "imported": imported, "ended": time.time()}
        write_json(FOLDER / f"{stage}.json", {key: round(value, 3) for key, value in times.items()})
    # The interpreter's last collections would walk through all that torch has made: half a second and more.
    gc.freeze()


def process_start() -> float:
    """When this process was started, in seconds since 1970, to a hundredth of a second."""
    start = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):
        # Linux counts from the machine's own start, which psutil adds in whole seconds: here to the fraction.
        start += time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - psutil.boot_time()
    return start
