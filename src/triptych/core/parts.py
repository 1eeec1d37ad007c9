"""The parts of a stage one after another, with a bar that says which is under way and how long is left."""

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from tqdm import tqdm

Found = TypeVar("Found")


def run_parts(stage: str, parts: Mapping[str, Callable[[], Found]]) -> dict[str, Found]:
    """What each of the named parts returns, run in order; `stage` is what the bar is called."""
    found = {}
    # A terminal is refreshed often; a log gets a line now and then.
    with tqdm(parts.items(), desc=stage, mininterval=0.5 if sys.stderr.isatty() else 20.0, dynamic_ncols=True) as bar:
        for name, part in bar:
            bar.set_postfix_str(name)
            found[name] = part()
    return found


def merged(stage: str, parts: Mapping[str, Callable[[], dict]]) -> dict:
    """What all parts return, in one mapping; see `run_parts`."""
    return {key: value for found in run_parts(stage, parts).values() for key, value in found.items()}
