"""Parallel tasks in forked processes, and the run time of a pipeline stage.

A small network does not use two cores fully: two training runs in parallel, with one thread each, process 1.4 times as
many images per second as one run with two threads. Processes are forked only on Linux, because the linear algebra
libraries of other systems fail after a fork. The parent computes with one thread, because a fork copies no others.
"""

import atexit
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn, TypeVar

import triptych
from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_json

AVAILABLE = sys.platform == "linux"
CLOCKS = Path("metrics/clock")

Result = TypeVar("Result")


def side_by_side(tasks: Sequence[Callable[[], Result]], at_once: int) -> Iterator[tuple[int, Result]]:
    """Run tasks in parallel, and yield the index and the result of each task when it finishes.

    Tasks start in the given order, in at most `at_once` child processes. They run in this process if `at_once` is 1 or
    shared memory is not available. If a task fails or a child is killed, all children are stopped. Raises InputError if
    a task raises it, or if a child cannot start or is killed, and SystemExit after any other error in a child.
    """
    context = multiprocessing.get_context("fork")
    try:
        started = context.Value("l", 0) if at_once > 1 else None
    except OSError as error:
        print(f"warning: no shared memory ({error}), so tasks run one after another", file=sys.stderr)
        started = None
    if started is None:
        yield from ((index, task()) for index, task in enumerate(tasks))
        return
    children: dict[Connection, multiprocessing.process.BaseProcess] = {}
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        for _ in range(min(at_once, len(tasks))):
            results, writer = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(tasks, started, writer, os.getpid()))
            try:
                child.start()
            except OSError as error:
                raise InputError(f"no child process ({error.strerror}); raise `ulimit -u`, or set threads: 1") from None
            writer.close()  # the pipe then ends when the child does
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
        raise InputError(f"a child process was killed ({name}){cause}") from None
    if child.exitcode:
        raise SystemExit(child.exitcode) from None


def _work(tasks: Sequence[Callable[[], object]], started: object, results: Connection, parent: int) -> None:
    os.setsid()  # Ctrl-C then reaches only the parent, which stops its children
    os.sched_setaffinity(0, triptych.CPUS)
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
        time.sleep(0.2)
    os._exit(1)


def run_script(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a pipeline stage by calling `main`, record its run time with `stage_clock`, and exit the process.

    An InputError is printed on one line. Finalisation of the interpreter, which can take 1.5 s, is skipped.
    """
    with one_line_errors():
        with stage_clock(stage):
            main()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


@contextmanager
def stage_clock(stage: str) -> Iterator[None]:
    """Measure the `with` block, and write times and peak memory to metrics/clock/<stage>.json if it succeeds.

    The times are the start of the process, the end of its imports and the end of the block, as Unix times in seconds.
    The peak memory in MiB is the peak of this process plus the peak of its largest child.
    """
    imported = time.time()
    yield
    if int(os.environ.get("RANK", 0)) == 0:
        times = {"started": triptych.STARTED, "imported": imported, "ended": time.time()}
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        megabytes = sum(peaks) // 2 ** (10 if sys.platform == "linux" else 20)  # macOS counts bytes, Linux KiB
        clock = {key: round(value, 3) for key, value in times.items()} | {"peak_megabytes": megabytes}
        write_json(CLOCKS / f"{stage}.json", clock)
