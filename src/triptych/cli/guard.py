"""Run a command that must not outlive the process that started it: guard.py PARENT COMMAND...

When the process PARENT has ended, even by SIGKILL, all processes of the command are killed. SIGINT is passed on to
them, and SIGTERM kills them. Only the standard library is imported, so that the script starts quickly.
"""

import os
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2


def main(parent: int, command: list[str]) -> int:
    """Run the command and return its exit code."""
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
