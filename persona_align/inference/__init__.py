"""Records to preferences, without a language model: evidence, posterior, taste."""

from persona_align.inference.evidence import EvidenceScorer
from persona_align.inference.posterior import Earlier, Posterior, fold
from persona_align.inference.posteriors import Posteriors
from persona_align.inference.summary import summarise
from persona_align.inference.taste import Taste, comparison_numbers
from persona_align.inference.topics import Topics

__all__ = [
    "Earlier",
    "EvidenceScorer",
    "Posterior",
    "Posteriors",
    "Taste",
    "Topics",
    "comparison_numbers",
    "fold",
    "summarise",
]
