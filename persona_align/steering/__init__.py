"""Per-user activation offsets: a value for each user, and one owner of a model's hooks that applies them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_align.steering.baking import bake
    from persona_align.steering.basis import SteeringBasis, default_cache
    from persona_align.steering.offsets import ActivationOffsets, Geometry
    from persona_align.steering.progress import silent
    from persona_align.steering.projections import Projections, find_projections
    from persona_align.steering.search import ActivationSearch
    from persona_align.steering.steered import SteeredModel, model_fingerprint

__all__ = [
    "ActivationOffsets",
    "ActivationSearch",
    "Geometry",
    "Projections",
    "SteeredModel",
    "SteeringBasis",
    "bake",
    "default_cache",
    "find_projections",
    "model_fingerprint",
    "silent",
]

_HOMES = {
    "ActivationOffsets": "offsets",
    "ActivationSearch": "search",
    "Geometry": "offsets",
    "Projections": "projections",
    "SteeredModel": "steered",
    "SteeringBasis": "basis",
    "bake": "baking",
    "default_cache": "basis",
    "find_projections": "projections",
    "model_fingerprint": "fingerprint",
    "silent": "progress",
}


def __getattr__(name: str) -> Any:
    # torch and transformers take seconds to import: only those who steer pay for them.
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
