"""How sure the sign of a value is, as a function of the evidence that is left after contradictions."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CERTAINTY", "certainty"]

CERTAINTY = (0.86, 23.69, 2.8)
"""Ceiling, rate and power, fitted by `python -m benchmarks.inference_calibration --fit`."""


def certainty(net: float | NDArray[np.float64], numbers: tuple[float, float, float] = CERTAINTY) -> NDArray[np.float64]:
    """The probability that a person holds the preference that their evidence leans to; 0 where there is none.

    Args:
        net: Weight of the evidence that is left after contradictions; one clear claim weighs about 0.9.
        numbers: Ceiling, rate and power.

    Example:
        >>> float(certainty(0.0)), bool(certainty(0.5) < certainty(1.0) < certainty(9.0) < 1.0)
        (0.0, True)
    """
    ceiling, rate, power = numbers
    return np.asarray(ceiling * -np.expm1(-rate * np.asarray(net, dtype=np.float64) ** power))
