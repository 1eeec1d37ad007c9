"""How Triptych says that its input is wrong: one line, exit code 2, nothing lost."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Of a disk, or a user's share of it, that takes no more.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(Exception):
    """What the user gave is wrong. The message is one line: what, where, what is allowed."""


@contextmanager
def one_line_errors(interrupted: str = "interrupted: the next run resumes from the last checkpoint") -> Iterator[None]:
    """Turns what a user can mend into one line on stderr and exit code 2.

    That is an InputError, or a disk that is full. Ctrl-C becomes exit code 130; a reader that has gone, as after
    `| head`, ends the process without a word. What an output cannot spell is written as an escape.

    Args:
        interrupted: what Ctrl-C is answered with.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a test's stream, or one that is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _forget_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _forget_output()
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{os.strerror(error.errno).lower()}; what was there before is whole", file=sys.stderr)
        sys.exit(2)


def _forget_output() -> None:
    """Python writes at its end what no one takes, and would complain of that again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
