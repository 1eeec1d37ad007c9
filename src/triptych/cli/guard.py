"""Run a command, and kill it when the process that started this script has ended: guard.py PARENT COMMAND...

PARENT is the ID of that process. All processes in the command's group are killed, even if PARENT ended by SIGKILL.
SIGINT is passed on to the group, and SIGTERM kills it. Only the standard library is imported, for a quick start.
"""

import os
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2


def main(parent: int, command: list[str]) -> int:
    """Run the command and return its exit code. `parent` is the ID of the process that started this script."""
    process = subprocess.Popen(command, start_new_session=True)
    signal.signal(signal.SIGINT, lambda number, frame: os.killpg(process.pid, signal.SIGINT))
    signal.signal(signal.SIGTERM, lambda number, frame: os.killpg(process.pid, signal.SIGKILL))
    while process.poll() is None:
        if os.getppid() != parent:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
