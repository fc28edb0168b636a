"""What is shown while something long is computed, and where."""

import io
from types import SimpleNamespace

import pytest

from persona_align.steering import silent
from persona_align.steering.progress import watched


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def around(monkeypatch):
    """What `sys` holds for the module; pytest puts its own streams back between a fixture and its test."""
    found = SimpleNamespace(stderr=io.StringIO(), stdout=io.StringIO(), modules={})
    monkeypatch.setattr("persona_align.steering.progress.sys", found)
    return found


def test_the_callers_own_is_taken():
    assert watched(silent) is silent
    silent("anything", 1, 2)


def test_a_program_without_a_terminal_shows_nothing(around):
    assert watched(None) is None
    around.stderr = None  # as under pythonw
    assert watched(None) is None


def test_a_line_is_kept_up_to_date_and_cleared(around, clock):
    around.stderr = terminal = Terminal()
    show = watched(None)
    for done in range(11):
        clock[0] += 1
        show("statements", done, 10)
    lines = terminal.getvalue().split("\r")
    assert "statements: 2 of 10" in lines
    assert lines[-1] == "", "nothing is left on the line"
    assert lines[-2].strip() == ""


def test_what_is_quick_shows_nothing(around, clock):
    around.stderr = terminal = Terminal()
    show = watched(None)
    for done in range(11):
        show("statements", done, 10)
    assert terminal.getvalue() == ""


def test_a_notebook_is_told_on_its_plain_stream(around, clock):
    around.modules["ipykernel"] = around.stdout.pub_thread = True
    show = watched(None)
    clock[0] += 5
    show("statements", 1, 10)
    assert around.stdout.getvalue() == "\rstatements: 1 of 10"
