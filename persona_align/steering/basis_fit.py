"""How a SteeringBasis is found on a model: lessons from its told self, offsets by gradient, strength by measurement."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.preferences import Dimension
from persona_align.steering.calibration import calibrate
from persona_align.steering.distil import distil, divergence
from persona_align.steering.lessons import Lesson, Told, teach
from persona_align.steering.progress import Progress
from persona_align.steering.prompting import layout_of
from persona_align.steering.steered import SteeredModel
from persona_align.steering.strength import FLUENCY_BOUND
from persona_align.steering.teacher import ORDINARY_MESSAGES, told

__all__ = ["fit_poles"]

_LESSONS_A_POLE = 12
_EPOCHS = 10
_BATCH = 32
_MAX_TOKENS = 48
_TOGETHER = 3
"""The most poles that a lesson tells at once."""


def fit_poles(
    steered: SteeredModel,
    tokenizer: Any,
    dimensions: Sequence[Dimension],
    *,
    seed: int,
    effort: float,
    progress: Progress | None,
) -> dict[str, Any]:
    """Everything that a SteeringBasis is built from, as its keyword arguments."""
    rng = np.random.default_rng(seed)
    poles = [
        (dimension.key, sign, dimension.pole(sign))
        for dimension in dimensions
        for sign in (1, -1)
        if dimension.usable(sign)
    ]
    count = max(2, round(_LESSONS_A_POLE * effort))
    asked = _asked(poles, count, rng)
    lessons = teach(steered, tokenizer, asked, max_tokens=_MAX_TOKENS, temperature=0.7, seed=seed, progress=progress)
    held, seen = lessons[:: count + 1], [lesson for k, lesson in enumerate(lessons) if k % (count + 1)]
    steps = max(10, round(len(seen) * _EPOCHS * effort / _BATCH))
    values = distil(steered, seen, len(poles), steps=steps, seed=seed, batch=_BATCH, progress=progress)
    calibrated = calibrate(steered, tokenizer, poles, values, seed=seed, effort=effort, progress=progress)
    return {
        "values": calibrated.values,
        "poles": poles,
        "fingerprint": steered.fingerprint,
        "limit": calibrated.limit,
        "curve": calibrated.curve,
        "fitted": {
            "method": "distillation of the told model",
            "layout": layout_of(tokenizer),
            "seed": seed,
            "lessons": len(seen),
            "steps": steps,
            "fluency_bound": FLUENCY_BOUND,
            "factors": calibrated.factors,
            "held_out_divergence": _learned(steered, held, values),
        },
    }


def _asked(poles: Sequence[tuple[str, int, str]], count: int, rng: np.random.Generator) -> list[Told]:
    """`count` messages a pole, plus one that is held out: every pole leads each of them, alone or with others."""
    asked = []
    for lead in range(len(poles)):
        messages = rng.permutation(len(ORDINARY_MESSAGES))
        for k in range(count + 1):
            plain = ORDINARY_MESSAGES[messages[k % len(messages)]]
            extra = int(rng.integers(0, _TOGETHER)) if k % 2 else 0
            chosen = (lead, *_others(poles, lead, extra, rng))
            lines = [f"{poles[pole][2]} (strongly)" for pole in chosen]
            asked.append(Told(told(lines, plain), plain, chosen))
    return asked


def _others(poles: Sequence[tuple[str, int, str]], lead: int, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Poles of other dimensions, no two of the same."""
    taken = {poles[lead][0]}
    others: list[int] = []
    for pole in rng.permutation(len(poles)):
        if len(others) == count:
            break
        if poles[pole][0] not in taken:
            taken.add(poles[pole][0])
            others.append(int(pole))
    return tuple(others)


def _learned(steered: SteeredModel, held: Sequence[Lesson], values: NDArray[np.float32]) -> dict[str, float]:
    """Divergence from the told model on lessons that were held out, without and with the offsets."""
    before = divergence(steered, held, values, strength=0.0)
    after = divergence(steered, held, values)
    return {"untold": round(float(before.mean()), 4), "steered": round(float(after.mean()), 4)}
