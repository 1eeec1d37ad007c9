"""Run named tasks, and show a progress bar."""

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from tqdm import tqdm

from triptych.machine.processes import side_by_side

Result = TypeVar("Result")


def run_tasks(title: str, tasks: Mapping[str, Callable[[], Result]], at_once: int = 1) -> dict[str, Result]:
    """Run named tasks, at most `at_once` in parallel, and return a dict of results. `title` labels the progress bar."""
    names, results = list(tasks), {}
    interval = 0.5 if sys.stderr.isatty() else 20.0  # keeps log files short
    with tqdm(total=len(tasks), desc=title, mininterval=interval, dynamic_ncols=True) as bar:
        for index, result in side_by_side(list(tasks.values()), at_once):
            results[names[index]] = result
            bar.set_postfix_str(names[index], refresh=False)
            bar.update()
    return {name: results[name] for name in names}


def merged_results(title: str, tasks: Mapping[str, Callable[[], dict]], at_once: int = 1) -> dict:
    """Run named tasks with `run_tasks`, and return one dict with all entries of the dicts that the tasks return."""
    return {key: value for result in run_tasks(title, tasks, at_once).values() for key, value in result.items()}
