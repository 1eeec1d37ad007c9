"""The parts of a stage, with a bar that says which is done and how long is left."""

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from tqdm import tqdm

from triptych.core.forks import side_by_side

Found = TypeVar("Found")


def run_parts(stage: str, parts: Mapping[str, Callable[[], Found]], at_once: int = 1) -> dict[str, Found]:
    """What each of the named parts returns, in their order; `stage` is what the bar is called.

    Args:
        stage: see above.
        parts: begun in the order given.
        at_once: how many are worked on side by side, see `side_by_side`; with 1, each finds what those before left.
    """
    names, found = list(parts), {}
    # A terminal is refreshed often; a log gets a line now and then.
    every = 0.5 if sys.stderr.isatty() else 20.0
    with tqdm(total=len(parts), desc=stage, mininterval=every, dynamic_ncols=True) as bar:
        for place, result in side_by_side(list(parts.values()), at_once):
            found[names[place]] = result
            bar.set_postfix_str(names[place], refresh=False)
            bar.update()
    return {name: found[name] for name in names}


def merged(stage: str, parts: Mapping[str, Callable[[], dict]], at_once: int = 1) -> dict:
    """What all parts return, in one mapping; see `run_parts`."""
    return {key: value for found in run_parts(stage, parts, at_once).values() for key, value in found.items()}
