"""What can be preferred, and what is known of a person."""

from persona_align.preferences.alignx import ALIGNX
from persona_align.preferences.space import Dimension, PreferenceSpace
from persona_align.preferences.vector import PreferenceVector, Reading

__all__ = ["ALIGNX", "Dimension", "PreferenceSpace", "PreferenceVector", "Reading"]
