"""How a SteeringBasis is found on a model: lessons from its told self, offsets by gradient, strength by measurement."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_align.preferences import Dimension
from persona_align.steering.distil import distil, divergence
from persona_align.steering.lessons import Lesson, Told, teach
from persona_align.steering.progress import Progress
from persona_align.steering.prompting import layout_of, rendered, token_ids
from persona_align.steering.steered import SteeredModel
from persona_align.steering.strength import FLUENCY_BOUND, FluencyPoint, fluency_curve, safe_strength
from persona_align.steering.teacher import ORDINARY_MESSAGES, told

__all__ = ["fit_poles"]

_LESSONS_A_POLE = 12
_EPOCHS = 10
_BATCH = 32
_MAX_TOKENS = 48
_TOGETHER = 3
"""The most poles that a lesson tells at once."""
_STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25)
_SHARES = (0.25, 0.5, 0.75, 1.0)
_PROBED_SETS = 12


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
    prompts = [
        token_ids(tokenizer, rendered(tokenizer, [{"role": "user", "content": m}])) for m in ORDINARY_MESSAGES[::8]
    ]
    strength, limit, curves = _safe(steered, tokenizer, poles, values, prompts, rng, progress)
    return {
        "values": values,
        "poles": poles,
        "fingerprint": steered.fingerprint,
        "strength": strength,
        "limit": limit,
        "curve": curves,
        "fitted": {
            "method": "distillation of the told model",
            "layout": layout_of(tokenizer),
            "seed": seed,
            "lessons": len(seen),
            "steps": steps,
            "fluency_bound": FLUENCY_BOUND,
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


def _safe(
    steered: SteeredModel,
    tokenizer: Any,
    poles: Sequence[tuple[str, int, str]],
    values: NDArray[np.float32],
    prompts: Sequence[Sequence[int]],
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[float, float, list[dict[str, float]]]:
    """The default strength, the largest norm, and the fluency behind both.

    The strength is what one pole can bear alone; the norm is what two to six at that strength can bear together.
    """
    alone = [(int(k),) for k in rng.permutation(len(poles))[:_PROBED_SETS]]
    together = [
        (int(lead), *_others(poles, int(lead), 1 + k % 5, rng))
        for k, lead in enumerate(rng.permutation(np.arange(_PROBED_SETS) % len(poles)))
    ]

    def curve(sets: Sequence[tuple[int, ...]], factor: float, strengths: Sequence[float]) -> list[FluencyPoint]:
        directions = [factor * values[list(some)].sum(0) for some in sets]
        return fluency_curve(
            steered, tokenizer, prompts, directions, strengths, max_tokens=_MAX_TOKENS, progress=progress
        )

    single = curve(alone, 1.0, _STRENGTHS)
    strength = safe_strength(single)
    several = curve(together, strength, _SHARES)
    norms = [float(np.linalg.norm(strength * values[list(some)].sum(0))) for some in together]
    one = max(float(np.linalg.norm(strength * value)) for value in values)
    limit = max(safe_strength(several) * float(np.mean(norms)), one)
    points = [{"poles": 1.0, **point.as_json()} for point in single]
    return strength, limit, points + [{"poles": 4.0, **point.as_json()} for point in several]


def _learned(steered: SteeredModel, held: Sequence[Lesson], values: NDArray[np.float32]) -> dict[str, float]:
    """Divergence from the told model on lessons that were held out, without and with the offsets."""
    before = divergence(steered, held, values, strength=0.0)
    after = divergence(steered, held, values)
    return {"untold": round(float(before.mean()), 4), "steered": round(float(after.mean()), 4)}
