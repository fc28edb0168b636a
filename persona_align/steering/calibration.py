"""How much of each pole, and of several together, a model bears: measured, so that strength 1.0 is safe by default.

What a preference adds to a reply is unlikely to the model that does not know of it: each joke or checklist costs some
perplexity, however fluent. So a pole alone, a mean of poles and most combinations keep the bound, not the unluckiest of
all combinations: a norm that spares even that one lets nothing show.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.steering.progress import Progress
from persona_align.steering.prompting import rendered, token_ids
from persona_align.steering.steered import SteeredModel
from persona_align.steering.strength import STRONGEST, FluencyPoint, combined, fluency, safe_strength
from persona_align.steering.teacher import ORDINARY_MESSAGES

__all__ = ["CALIBRATION_BOUND", "Calibrated", "calibrate", "pole_sets"]

CALIBRATION_BOUND = 1.4
"""Stricter than the bound that is promised, since other messages and other combinations are harder than those tried."""
_MAX_TOKENS = 48
_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25)
_SIZES = range(2, STRONGEST + 1)
_SETS = 24
_SHARE = 0.9
"""The part of the tried combinations that must keep the bound."""
_NORMS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)
_CURVE = (0.5, 1.0, 1.5, 2.0)


class Calibrated(NamedTuple):
    """What a calibration found.

    Attributes:
        values: Offsets per pole at strength 1.0, [poles, layers, heads, head_dim].
        limit: The largest norm that several poles may reach together.
        factors: What each pole's offsets were multiplied by.
        curve: Fluency at multiples of strength 1.0: of one pole, and of three together.
    """

    values: NDArray[np.float32]
    limit: float
    factors: list[float]
    curve: list[dict[str, float]]


def calibrate(
    steered: SteeredModel,
    tokenizer: Any,
    poles: Sequence[tuple[str, int, str]],
    values: NDArray[np.float32],
    *,
    seed: int = 0,
    effort: float = 1.0,
    progress: Progress | None = None,
) -> Calibrated:
    """Scale every pole to what it bears alone, then find what several bear together, in nine of ten combinations.

    Args:
        steered: The model.
        tokenizer: Its tokenizer.
        poles: Key, sign and name of each pole, in the order of `values`.
        values: Offsets per pole, as they were fitted or as they were calibrated before.
        seed: Of the combinations that are tried.
        effort: A factor on the numbers of messages and combinations.
        progress: Called after each step.
    """
    rng = np.random.default_rng(seed)
    prompts = [
        token_ids(tokenizer, rendered(tokenizer, [{"role": "user", "content": message}]))
        for message in ORDINARY_MESSAGES[:: max(2, round(4 / effort))]
    ]
    count = max(3, round(_SETS * effort))
    dimensions = len({key for key, _, _ in poles})
    total, done = len(_FACTORS) + 1 + len(_NORMS) + 2 * len(_CURVE), 0

    def measure(directions: Sequence[NDArray[Any]], strength: float = 1.0) -> list[FluencyPoint]:
        nonlocal done
        points = fluency(steered, tokenizer, prompts, directions, strength, max_tokens=_MAX_TOKENS)
        done += 1
        if progress is not None:
            progress("strength", done, total)
        return points

    alone = list(zip(*(measure(list(values), factor) for factor in _FACTORS), strict=True))
    factors = [safe_strength(points, bound=CALIBRATION_BOUND) for points in alone]
    safe = values * np.array(factors, dtype=np.float32)[:, None, None, None]
    sets = [some for size in _SIZES if size <= dimensions for some in pole_sets(poles, size, count, rng)]
    means = [safe[list(some)].mean(0) for some in sets]
    # A mean of safe offsets nearly always is safe; where one is not, every pole gives way.
    shrink = min((safe_strength([point], bound=CALIBRATION_BOUND) for point in measure(means)), default=1.0)
    safe *= np.float32(shrink)
    usual = float(np.median(np.linalg.norm(safe.reshape(len(safe), -1), axis=1)))
    limit = _limit(measure, [safe[list(some)].sum(0) for some in sets], usual)
    curve = []
    for size in (1, min(STRONGEST, dimensions)):
        some = [combined(safe, dict.fromkeys(chosen, 1.0), limit) for chosen in pole_sets(poles, size, count, rng)]
        curve += [_point(size, measure(some, strength)) for strength in _CURVE]
    return Calibrated(safe, limit, [round(shrink * factor, 4) for factor in factors], curve)


def _limit(measure: Callable[..., list[FluencyPoint]], sums: Sequence[NDArray[Any]], usual: float) -> float:
    """The norm up to which nine of ten combinations keep the bound; `usual` is that of one pole."""
    lengths = [float(np.linalg.norm(whole)) for whole in sums]
    points = []
    for norm in (share * usual for share in _NORMS):
        shorter = [whole * min(1.0, norm / length) for whole, length in zip(sums, lengths, strict=True) if length]
        ratios = [point.perplexity_ratio for point in measure(shorter)] or [1.0]
        most = float(np.quantile(ratios, _SHARE))
        points.append(FluencyPoint(norm, most, 1.0))
        if most > CALIBRATION_BOUND:
            break
    return safe_strength(points, bound=CALIBRATION_BOUND)


def pole_sets(
    poles: Sequence[tuple[str, int, str]], size: int, count: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """`count` sets of `size` poles, as positions, no two of the same dimension; every pole leads in turn."""
    sets = []
    leads = rng.permutation(np.resize(rng.permutation(len(poles)), count))
    for lead in leads:
        chosen = {poles[lead][0]: int(lead)}
        for pole in rng.permutation(len(poles)):
            if len(chosen) == size:
                break
            chosen.setdefault(poles[pole][0], int(pole))
        sets.append(tuple(chosen.values()))
    return sets


def _point(size: int, points: Sequence[FluencyPoint]) -> dict[str, float]:
    ratios = [point.perplexity_ratio for point in points]
    return {
        "poles": float(size),
        "strength": points[0].strength,
        "perplexity_ratio": round(float(np.median(ratios)), 4),
        "worst": round(max(ratios), 4),
        "changed": round(float(np.mean([point.changed for point in points])), 4),
    }
