"""persona-align learns how each user likes to be answered, and aligns every reply."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_align.aligner import Evidence, PersonaAligner, Ranked
    from persona_align.memory import Receipt, Retrieved
    from persona_align.models import ChatTransformers
    from persona_align.preferences import ALIGNX, Dimension, PreferenceSpace, PreferenceVector
    from persona_align.records import Comparison, Correction, Description, Turn
    from persona_align.runnable import AlignedRunnable
    from persona_align.steering import ActivationOffsets, ActivationSearch, SteeringBasis

__version__ = "0.1.0"

_HOMES = {
    "ALIGNX": "persona_align.preferences",
    "ActivationOffsets": "persona_align.steering",
    "ActivationSearch": "persona_align.steering",
    "AlignedRunnable": "persona_align.runnable",
    "ChatTransformers": "persona_align.models",
    "Comparison": "persona_align.records",
    "Correction": "persona_align.records",
    "Description": "persona_align.records",
    "Dimension": "persona_align.preferences",
    "Evidence": "persona_align.aligner",
    "PersonaAligner": "persona_align.aligner",
    "PreferenceSpace": "persona_align.preferences",
    "PreferenceVector": "persona_align.preferences",
    "Ranked": "persona_align.aligner",
    "Receipt": "persona_align.memory",
    "Retrieved": "persona_align.memory",
    "SteeringBasis": "persona_align.steering",
    "Turn": "persona_align.records",
}

__all__ = [
    "ALIGNX",
    "ActivationOffsets",
    "ActivationSearch",
    "AlignedRunnable",
    "ChatTransformers",
    "Comparison",
    "Correction",
    "Description",
    "Dimension",
    "Evidence",
    "PersonaAligner",
    "PreferenceSpace",
    "PreferenceVector",
    "Ranked",
    "Receipt",
    "Retrieved",
    "SteeringBasis",
    "Turn",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOMES:
        msg = f"module 'persona_align' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
