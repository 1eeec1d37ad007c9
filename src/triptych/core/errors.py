"""Report errors that the user can fix as one line on stderr, and exit with code 2."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, quota exceeded, file too large


class InputError(Exception):
    """Error that the user can fix. The message is one line that says what is wrong, where, and what is allowed."""


@contextmanager
def one_line_errors(interrupted: str = "interrupted: the next run resumes from the last checkpoint") -> Iterator[None]:
    """Report an InputError or a full disk in the `with` block as one line on stderr, and exit with code 2.

    After Ctrl-C, print the message `interrupted` and exit with code 130. If the reader of stdout closes the pipe, exit
    with code 1 and print nothing. Characters that stdout or stderr cannot encode are escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # the stream is replaced in a test, or closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
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
        _discard_stdout()
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        _discard_stdout()
        file = f"{error.filename}: " if error.filename else ""
        print(f"error: {file}{os.strerror(error.errno).lower()}; existing files are unchanged", file=sys.stderr)
        sys.exit(2)


def _discard_stdout() -> None:
    # At exit Python flushes stdout, which would raise the same error a second time.
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
