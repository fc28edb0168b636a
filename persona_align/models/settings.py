"""How one reply is generated: the settings a call may change, checked before anything runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

__all__ = ["Settings", "check_max_tokens", "check_seed", "check_stop", "check_temperature", "check_top_p"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one reply is generated.

    Args:
        max_tokens: Most tokens to generate.
        temperature: 0 picks the likeliest token; higher is more varied.
        top_p: Samples from the likeliest tokens that together have this probability.
        stop: Texts at which the reply ends; they are cut off.
        seed: Of the sampling; None takes one from torch's default generator.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def override(self, changes: Mapping[str, Any]) -> Self:
        """The same settings with some of them replaced.

        Raises:
            ValueError: A value is out of its range.
        """
        checked: dict[str, Any] = {name: _CHECKS[name](value) for name, value in changes.items() if value is not None}
        return replace(self, **checked)


def check_max_tokens(value: Any) -> int:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"max_tokens must be a whole number of at least 1, not {value!r}"
        raise ValueError(msg)
    return value


def check_temperature(value: Any) -> float:
    """A finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        msg = f"temperature must be a number of at least 0, not {value!r}"
        raise ValueError(msg)
    return float(value)


def check_top_p(value: Any) -> float:
    """A number above 0 and up to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        msg = f"top_p must be a number above 0 and up to 1, not {value!r}"
        raise ValueError(msg)
    return float(value)


def check_seed(value: Any) -> int:
    """A whole number that torch's generators take."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        msg = f"seed must be a whole number of 64 bits, not {value!r}"
        raise ValueError(msg)
    return value


def check_stop(value: Any) -> tuple[str, ...]:
    """Texts that are not empty; one text stands for a list of one."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) and text for text in texts):
        msg = f"stop must be a list of texts that are not empty, not {value!r}"
        raise ValueError(msg)
    return tuple(texts)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "max_tokens": check_max_tokens,
    "temperature": check_temperature,
    "top_p": check_top_p,
    "stop": check_stop,
    "seed": check_seed,
}
