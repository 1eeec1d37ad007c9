"""A command that a test runs always ends, together with all processes that it started."""

import subprocess
import time

import pytest
from shell import end_left_behind, left_behind, run


def test_what_a_command_leaves_behind_does_not_hold_it_up(tmp_path):
    before = time.monotonic()
    assert run(tmp_path, "sh", "-c", "sleep 60 & echo done") == "done\n"
    assert time.monotonic() - before < 30
    assert len(left_behind(tmp_path)) == 1
    end_left_behind(tmp_path)
    assert left_behind(tmp_path) == []


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        run(tmp_path, "sh", "-c", "sleep 60 & sleep 60", seconds=1)
    until = time.monotonic() + 10
    while left_behind(tmp_path):
        assert time.monotonic() < until


def test_one_that_fails_shows_what_it_said(tmp_path):
    with pytest.raises(AssertionError, match="no such thing"):
        run(tmp_path, "sh", "-c", "echo no such thing >&2; exit 3")
