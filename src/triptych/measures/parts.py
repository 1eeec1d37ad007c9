"""A study's measurements one after another, with a bar that says which is under way and how long is left."""

import sys
from collections.abc import Callable, Mapping

from tqdm import tqdm


def gather(stage: str, parts: Mapping[str, Callable[[], dict]]) -> tuple[dict, dict]:
    """Runs the named parts in order.

    Args:
        stage: what the bar is called.
        parts: each returns its numbers, and under "intervals" those of them that have one.

    Returns:
        All numbers, and all intervals.
    """
    numbers: dict = {}
    intervals: dict = {}
    # A terminal is refreshed often; a log gets a line now and then.
    with tqdm(parts.items(), desc=stage, mininterval=0.5 if sys.stderr.isatty() else 20.0, dynamic_ncols=True) as bar:
        for name, measure in bar:
            bar.set_postfix_str(name)
            found = measure()
            intervals |= found.pop("intervals", {})
            numbers |= found
    return numbers, intervals
