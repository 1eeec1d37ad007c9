"""Works side by side: what they return, in copies that end with the first process, and how they fail."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from triptych.core.errors import InputError
from triptych.machine import processes as forks
from triptych.machine.processes import run_parts, side_by_side

pytestmark = pytest.mark.skipif(not forks.AVAILABLE, reason="copies are made on Linux alone")


def after(seconds: float, what: object) -> object:
    time.sleep(seconds)
    return what


def test_every_work_is_done_once_in_as_many_copies_as_asked():
    found = dict(side_by_side([partial(lambda n: (n, os.getpid()), n) for n in range(20)], 3))
    assert [found[place][0] for place in sorted(found)] == list(range(20))
    copies = {pid for _, pid in found.values()}
    assert len(copies) <= 3 and os.getpid() not in copies


def test_they_overlap_and_are_given_as_they_end_while_parts_keep_their_order():
    works = {"slow": partial(after, 0.6, 1), "fast": partial(after, 0.0, 2), "faster": partial(after, 0.0, 3)}
    assert [place for place, _ in side_by_side(list(works.values()), 2)] == [1, 2, 0]
    clock = time.monotonic()
    assert list(run_parts("naps", {str(n): partial(after, 0.5, n) for n in range(4)}, 4).items()) == [
        (str(n), n) for n in range(4)
    ]
    assert time.monotonic() - clock < 1.8


def test_one_at_once_works_here():
    assert list(side_by_side([os.getpid, os.getpid], 1)) == [(0, os.getpid()), (1, os.getpid())]


def refuse() -> None:
    raise InputError("a bad image")


def ended(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def note(path: Path) -> None:
    """Writes this process's number, and works on."""
    path.write_text(str(os.getpid()))
    time.sleep(600)


def noted(path: Path) -> int:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (refuse, InputError, "^a bad image$"),
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            InputError,
            r"was killed \(SIGKILL\), probably because memory ran out",
        ),
        (lambda: 1 / 0, SystemExit, "1"),
    ],
    ids=["bad input", "killed", "a fault"],
)
def test_a_failure_reaches_the_first_process_and_stops_the_others(failure, error, words, tmp_path):
    other = tmp_path / "other"

    def fail() -> None:
        noted(other)
        failure()

    with pytest.raises(error, match=words):
        list(side_by_side([partial(note, other), fail], 2))
    assert ended(noted(other))


FIRST = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {here!r})
from test_forks import note
from triptych.machine.processes import side_by_side
list(side_by_side([partial(note, Path(path)) for path in sys.argv[1:]], 2))
"""


def test_copies_end_with_the_first_process_however_it_went(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    code = FIRST.format(here=str(Path(__file__).parent))
    first = subprocess.Popen([sys.executable, "-c", code, *map(str, paths)])
    copies = [noted(path) for path in paths]
    first.kill()
    first.wait()
    assert all(ended(pid) for pid in copies)
