"""Tasks side by side in forked processes, and the clock of a stage.

A small network does not fill two cores: two runs of one thread each process 1.4 times as many images per second as one
run of two threads. Only Linux forks: elsewhere the linear algebra libraries do not survive it. This process must not
have computed with several threads before, because their pool is not copied (`Machine.shared` sets one thread first).
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeVar

import psutil
from tqdm import tqdm

from triptych.core.errors import InputError
from triptych.core.files import write_json

AVAILABLE = sys.platform == "linux"
PARENT_CHECK_SECONDS = 0.2
CLOCKS = Path("metrics/clock")

Result = TypeVar("Result")


def side_by_side(tasks: Sequence[Callable[[], Result]], at_once: int) -> Iterator[tuple[int, Result]]:
    """Yield (index, result) as tasks finish. Tasks start in the given order.

    Each of `at_once` child processes runs several tasks, one after another. With `at_once` 1 they run in this process.
    If a task fails or a child is killed, all children are stopped. An InputError of a task and a killed child raise
    InputError; any other error raises SystemExit, with its traceback on stderr.
    """
    if at_once == 1:
        yield from ((index, task()) for index, task in enumerate(tasks))
        return
    context = multiprocessing.get_context("fork")
    started = context.Value("l", 0)
    children: dict[Connection, multiprocessing.process.BaseProcess] = {}
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        for _ in range(min(at_once, len(tasks))):
            results, writer = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(tasks, started, writer, os.getpid()))
            child.start()
            writer.close()  # so that the pipe ends with the child
            children[results] = child
        while children:
            for results in wait(list(children)):
                try:
                    index, result, error = results.recv()
                except EOFError:
                    _check_exit(children.pop(results))
                    continue
                if error:
                    raise InputError(error)
                yield index, result
    finally:
        for child in children.values():
            child.kill()
            child.join()


def _check_exit(child: multiprocessing.process.BaseProcess) -> None:
    child.join()
    if child.exitcode and child.exitcode < 0:
        name = signal.Signals(-child.exitcode).name
        cause = ", probably because memory ran out" if name == "SIGKILL" else ""
        raise InputError(f"a worker process was killed ({name}){cause}") from None
    if child.exitcode:
        raise SystemExit(child.exitcode) from None


def _work(tasks: Sequence[Callable[[], object]], started: object, results: Connection, parent: int) -> None:
    os.setsid()  # Ctrl-C reaches the parent alone, which stops its children
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    try:
        while True:
            with started.get_lock():
                index = started.value
                started.value += 1
            if index >= len(tasks):
                return
            results.send((index, tasks[index](), None))
    except InputError as error:
        results.send((None, None, str(error)))


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def run_parts(title: str, tasks: Mapping[str, Callable[[], Result]], at_once: int = 1) -> dict[str, Result]:
    """Run named tasks with a progress bar labelled `title`; return their results by name, in the order of `tasks`."""
    names, results = list(tasks), {}
    # A terminal is refreshed often; a log gets a line now and then.
    interval = 0.5 if sys.stderr.isatty() else 20.0
    with tqdm(total=len(tasks), desc=title, mininterval=interval, dynamic_ncols=True) as bar:
        for index, result in side_by_side(list(tasks.values()), at_once):
            results[names[index]] = result
            bar.set_postfix_str(names[index], refresh=False)
            bar.update()
    return {name: results[name] for name in names}


def merged(title: str, tasks: Mapping[str, Callable[[], dict]], at_once: int = 1) -> dict:
    """Merge the mappings that all tasks return, see `run_parts`."""
    return {key: value for result in run_parts(title, tasks, at_once).values() for key, value in result.items()}


@contextmanager
def stage_clock(stage: str) -> Iterator[None]:
    """Write metrics/clock/<stage>.json on success: times of process start, end of imports and end of work, in UTC."""
    imported = time.time()
    yield
    if int(os.environ.get("RANK", 0)) == 0:
        times = {"started": min(process_start(), imported), "imported": imported, "ended": time.time()}
        write_json(CLOCKS / f"{stage}.json", {key: round(value, 3) for key, value in times.items()})
    # The final garbage collections would visit every object of torch, for half a second or more.
    gc.freeze()


def process_start() -> float:
    """Return the start time of this process in seconds since 1970, to a hundredth of a second."""
    start = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):
        # Linux counts from boot time, which psutil adds in whole seconds.
        start += time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - psutil.boot_time()
    return start
