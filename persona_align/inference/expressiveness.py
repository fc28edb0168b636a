"""Whether a sentence says something about its author's tastes, habits or nature, or only asks for work.

A logistic head over two layers of the encoder, pooled over the sentence in its context, trained on sentences of our
own (training/expressiveness.py). For an encoder without a trained head, patterns of first-person preference words do.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, Encoding
from persona_align.inference.style_surface import surface_features

__all__ = ["Expressiveness", "open_expressiveness", "sentence_features", "turn_numbers"]

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).parent / "data" / "expressiveness.safetensors"
LAYERS = (2, 4, 6)
"""Of the encoder's hidden states; the embedding layer is 0."""
KEPT_SENTENCES = 8
"""Of a long text, the vectors of this many sentences are kept: the most expressive ones."""

NEIGHBOURS = 0.2
"""How much of the other sentences' content is taken off a sentence, which the encoder read in their company."""

_PATTERN = re.compile(
    r"\b(?:i|i'm|i'd|i've|my)\b.{0,40}\b(?:love|like|enjoy|prefer|hate|dislike|avoid|allergic|favou?rite|fan|never|always|"
    r"can't stand|usually|tend to|rather|afraid|fear|passion|refuse|only|don't want|sensitive|aversion)\w*\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Expressiveness:
    """The head of one encoder.

    Args:
        fingerprint: Of the encoder.
        weights: Shape [len(LAYERS) * d + 19]; empty where nothing was trained, and patterns are used.
        bias: Added to the weighted sum.
    """

    fingerprint: str
    weights: Floats
    bias: float

    @property
    def version(self) -> str:
        """Identifies the numbers of this head."""
        return hashlib.sha256(self.weights.tobytes() + np.float32(self.bias).tobytes()).hexdigest()[:12]

    def sentences(self, encoding: Encoding) -> Floats:
        """Shape [sentences]: for each, the probability that it says something about its author."""
        if not len(self.weights):
            return np.array([_by_pattern(sentence) for sentence in encoding.sentences], dtype=np.float32)
        logits = sentence_features(encoding) @ self.weights + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        tensors = {"weights": self.weights, "bias": np.array([self.bias], dtype=np.float32)}
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint, "format": "1"})

    @classmethod
    def load(cls, path: Path) -> "Expressiveness":
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            fingerprint = file.metadata()["fingerprint"]
            weights, bias = file.get_tensor("weights"), float(file.get_tensor("bias")[0])
        return cls(fingerprint=fingerprint, weights=weights, bias=bias)


def open_expressiveness(encoder: Encoder) -> Expressiveness:
    """The head of an encoder: the trained one where the fingerprint matches, else patterns."""
    shipped = _shipped()
    if shipped is not None and shipped.fingerprint == encoder.fingerprint:
        return shipped
    return Expressiveness(fingerprint=encoder.fingerprint, weights=np.zeros(0, np.float32), bias=0.0)


def sentence_features(encoding: Encoding) -> Floats:
    """Shape [sentences, len(LAYERS) * d + 19]: what the head reads of each sentence."""
    layers = encoding.sentence_layers[:, LAYERS]
    surface = np.stack([surface_features([sentence]) for sentence in encoding.sentences])
    return np.hstack([layers.reshape(len(layers), -1), surface])


def turn_numbers(encoding: Encoding, head: Expressiveness) -> dict[str, np.ndarray]:
    """What memory keeps of a user's text for retrieval: its most expressive sentences, in their order.

    Returns:
        `expressiveness`, float16 [s], and `sentence_content`, float16 [s, d], with s at most 8.
    """
    expressive = head.sentences(encoding)
    kept = np.sort(np.argsort(-expressive, kind="stable")[:KEPT_SENTENCES])
    return {
        "expressiveness": expressive[kept].astype(np.float16),
        "sentence_content": _alone(encoding.sentence_content)[kept].astype(np.float16),
    }


def _alone(sentences: Floats) -> Floats:
    """Unit vectors of sentences with less of their neighbours in them."""
    if len(sentences) < 2:
        return sentences
    others = (sentences.sum(0) - sentences) / (len(sentences) - 1)
    alone = sentences - NEIGHBOURS * others
    return np.asarray(alone / np.maximum(np.linalg.norm(alone, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _by_pattern(sentence: str) -> float:
    return 0.8 if _PATTERN.search(sentence) and not sentence.rstrip().endswith("?") else 0.1


@lru_cache(maxsize=1)
def _shipped() -> Expressiveness | None:
    return Expressiveness.load(SHIPPED) if SHIPPED.exists() else None
