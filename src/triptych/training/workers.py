"""Several runs of one stage side by side on a CPU.

A small network does not fill two cores: two runs of one thread each see 1.4 times as many images a second as one run
of two. So a stage that trains several seeds starts its own command again as workers, each of which trains some of them
and leaves the last checkpoints; then the stage itself takes up the finished runs where they end.
"""

import os
import subprocess
import sys
import threading
import time

VARIABLE = "TRIPTYCH_WORKER"
LOOK_SECONDS = 0.2  # between two looks at whether a worker has ended


def worker() -> int | None:
    """The number of this process among the workers of its stage; None in the stage's own process."""
    number = os.environ.get(VARIABLE)
    return None if number is None else int(number)


def end_with_the_stage() -> None:
    """Ends this worker when the process that started it is gone, however it went: their pipe then closes."""

    def wait() -> None:
        os.read(0, 1)  # unbuffered: Python could not shut down while a thread holds the buffer of stdin
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_workers(count: int) -> None:
    """Runs this process's own command as so many workers, to the end of all.

    Raises:
        SystemExit: a worker has failed, and has said why; the others are stopped, and their checkpoints stay.
    """
    command = [sys.executable, *sys.argv]
    # In sessions of their own, so that Ctrl-C is told once; the pipe ends them.
    workers = [
        subprocess.Popen(
            command, env=os.environ | {VARIABLE: str(number)}, stdin=subprocess.PIPE, start_new_session=True
        )
        for number in range(count)
    ]
    try:
        while None in (codes := [process.poll() for process in workers]) and not any(codes):
            time.sleep(LOOK_SECONDS)
        if any(codes):
            raise SystemExit(next(code for code in codes if code))
    finally:
        for process in workers:
            process.kill()
            process.communicate()
