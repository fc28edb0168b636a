"""How sure a mean over people is: bootstrap intervals, resampling whole people."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "over_people"]


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> list[float]:
        """Value, low and high, rounded."""
        return [round(value, 4) for value in (self.value, self.low, self.high)]


def over_people(
    statistic: Callable[[NDArray[np.int64]], float], people: int, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """The statistic over all people, and the middle 95 % of it over resampled people.

    Args:
        statistic: Takes how often each person counts, [people].
        people: How many there are.
        draws: How many resamples.
        seed: Of the resamples. The same seed draws the same people, so that a difference of two arms is paired.

    Example:
        >>> import numpy as np
        >>> errors = np.array([1.0, 2.0, 3.0])
        >>> over_people(lambda counts: float(counts @ errors / counts.sum()), 3).value
        2.0
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(people, np.full(people, 1 / people), size=draws)
    values = np.sort([statistic(counts) for counts in drawn])
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(statistic(np.ones(people, dtype=np.int64))), float(low), float(high))
