"""Tasks side by side: results, errors, and children that die with their parent."""

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
from triptych.machine.processes import side_by_side
from triptych.machine.tasks import run_tasks

pytestmark = pytest.mark.skipif(not forks.AVAILABLE, reason="only Linux forks")


def after(seconds: float, what: object) -> object:
    time.sleep(seconds)
    return what


def test_every_task_runs_once_in_at_most_the_given_number_of_children():
    found = dict(side_by_side([partial(lambda n: (n, os.getpid()), n) for n in range(20)], 3))
    assert [found[place][0] for place in sorted(found)] == list(range(20))
    children = {pid for _, pid in found.values()}
    assert len(children) <= 3 and os.getpid() not in children


def test_tasks_overlap_and_results_come_as_they_finish_but_named_ones_in_order():
    works = {"slow": partial(after, 0.6, 1), "fast": partial(after, 0.0, 2), "faster": partial(after, 0.0, 3)}
    assert [place for place, _ in side_by_side(list(works.values()), 2)] == [1, 2, 0]
    clock = time.monotonic()
    assert list(run_tasks("naps", {str(n): partial(after, 0.5, n) for n in range(4)}, 4).items()) == [
        (str(n), n) for n in range(4)
    ]
    assert time.monotonic() - clock < 1.8


def test_one_at_a_time_runs_in_this_process():
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
    """Write the process id, and keep working."""
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
    ids=["bad input", "killed", "internal error"],
)
def test_a_failure_reaches_the_parent_and_stops_the_other_children(failure, error, words, tmp_path):
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
from test_side_by_side import note
from triptych.machine.processes import side_by_side
list(side_by_side([partial(note, Path(path)) for path in sys.argv[1:]], 2))
"""


def test_children_die_with_a_killed_parent(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    code = FIRST.format(here=str(Path(__file__).parent))
    first = subprocess.Popen([sys.executable, "-c", code, *map(str, paths)])
    children = [noted(path) for path in paths]
    first.kill()
    first.wait()
    assert all(ended(pid) for pid in children)
