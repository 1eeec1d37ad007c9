"""Run a command whose processes must not outlive the process that started it: guard.py PARENT COMMAND...

It kills its process group as soon as process PARENT has ended, even by SIGKILL. It is a script of its own, which imports
only the standard library, so that it starts quickly.
"""

import os
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2


def main(parent: int, command: list[str]) -> int:
    """Run the command and return its exit code."""
    signal.signal(signal.SIGINT, lambda number, frame: None)  # the command handles Ctrl-C
    process = subprocess.Popen(command)
    while process.poll() is None:
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
