"""Works side by side, each in a copy of this process.

A small network does not fill two cores: two runs of one thread each see 1.4 times as many images a second as one run
of two. A copy starts in moments, for it holds all that this process has loaded; what a work returns comes back pickled.

Copies are made by fork, on Linux: elsewhere the libraries of linear algebra do not survive it. This process must not
have computed with several threads before, for their pool is not copied (`Machine.shared` sets one thread first).
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
LOOK_SECONDS = 0.2  # between a copy's looks at whether the first process is still there

Found = TypeVar("Found")


def side_by_side(works: Sequence[Callable[[], Found]], at_once: int) -> Iterator[tuple[int, Found]]:
    """The place of each work and what it returned, in the order in which they end; begun in the order given.

    Args:
        works: what to do. A copy does several, one after another: what one leaves behind in memory, later ones find.
        at_once: how many copies; 1 works here, in this process.

    Raises:
        InputError: a work has raised it, or the operating system ended a copy. The others are stopped.
        SystemExit: a work has failed otherwise, and its traceback is on stderr. The others are stopped.
    """
    if at_once == 1:
        yield from ((place, work()) for place, work in enumerate(works))
        return
    context = multiprocessing.get_context("fork")
    begun = context.Value("l", 0)
    copies: dict[Connection, multiprocessing.process.BaseProcess] = {}
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        for _ in range(min(at_once, len(works))):
            answers, ours = context.Pipe(duplex=False)
            copy = context.Process(target=_work, args=(works, begun, ours, os.getpid()))
            copy.start()
            ours.close()  # so that the end of the copy ends the pipe
            copies[answers] = copy
        while copies:
            for answers in wait(list(copies)):
                yield from _answer(answers, copies)
    finally:
        for copy in copies.values():
            copy.kill()
            copy.join()


def _answer(answers: Connection, copies: dict) -> Iterator[tuple[int, object]]:
    """What a copy has to say: the next work that it has done; or nothing, where it has ended well."""
    try:
        place, found, wrong = answers.recv()
    except EOFError:
        copy = copies.pop(answers)
        copy.join()
        if copy.exitcode and copy.exitcode < 0:
            name = signal.Signals(-copy.exitcode).name
            raise InputError(f"a process that worked beside others was ended by {name}; is memory short?") from None
        if copy.exitcode:
            raise SystemExit(copy.exitcode) from None
        return
    if wrong:
        raise InputError(wrong)
    yield place, found


def _work(works: Sequence[Callable[[], object]], begun: object, answers: Connection, parent: int) -> None:
    """What a copy does: the next work that no copy has begun, until there is none."""
    os.setsid()  # Ctrl-C is told the first process alone, which ends this one
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        while (place := _next(begun)) < len(works):
            answers.send((place, works[place](), None))
    except InputError as error:
        answers.send((None, None, str(error)))


def _next(begun: object) -> int:
    with begun.get_lock():
        place = begun.value
        begun.value += 1
    return place


def _end_with(parent: int) -> None:
    """Ends this process when the first is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


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
