"""How Triptych says that its input is wrong: one line, exit code 2, nothing lost."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """What the user gave is wrong. The message is one line: what, where, what is allowed."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an InputError into its message on stderr and exit code 2, and Ctrl-C into exit code 130."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the next run resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)
