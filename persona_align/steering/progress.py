"""How far a long computation is: told to the caller, or shown where somebody is watching."""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["Progress", "silent", "watched"]

Progress = Callable[[str, int, int], None]
"""Called with a label, how many are done, and how many there are."""
_PATIENCE, _PAUSE = 2.0, 0.2
"""Seconds before anything is shown, and between two changes of what is shown."""


def silent(label: str, done: int, total: int) -> None:
    """Show nothing: pass it where a program should not write to a terminal or notebook."""


def watched(progress: Progress | None) -> Progress | None:
    """The caller's own, or one that keeps a line up to date on a terminal or in a notebook, or None elsewhere.

    Example:
        >>> watched(silent) is silent
        True
    """
    if progress is not None:
        return progress
    if "ipykernel" in sys.modules and hasattr(sys.stdout, "pub_thread"):
        return _Line(sys.stdout)  # in a notebook the error stream would be red
    return _Line(sys.stderr) if sys.stderr is not None and sys.stderr.isatty() else None


class _Line:
    """One line that is overwritten; nothing at all where everything is done within seconds."""

    def __init__(self, stream: TextIO | Any) -> None:
        self._stream = stream
        self._begun = self._last = time.monotonic()
        self._width = 0

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and (now - self._begun < _PATIENCE or now - self._last < _PAUSE):
            return
        if done >= total and not self._width:
            return
        self._last = now
        text = "" if done >= total else f"{label}: {done} of {total}"
        self._stream.write(f"\r{text.ljust(self._width)}" + ("" if text else "\r"))
        self._stream.flush()
        self._width = len(text)
