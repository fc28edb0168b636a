"""What a sentence claims, as a signed point in a space where a pole's statements lie together and its opposite's apart.

A small network over frozen features of the encoder and of the words. Two sentences that say the same of their authors
have a high product, two that say the opposite a negative one, unrelated ones none. Trained by train.py on sentences of
our own; for an encoder without a trained head, the content embedding with the sign that the grammar gives it does.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder
from persona_align.inference.lexicon import features
from persona_align.inference.stance import stance

__all__ = ["SHIPPED", "Head", "PlainHead", "Reading", "TrainedHead", "claim_features", "open_head", "statement_key"]

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).parent / "data" / "evidence.safetensors"
SUBJECTS = ("self", "other", "nothing")


class Reading(NamedTuple):
    """What the head reads of claims.

    Args:
        points: Shape [n, features]: the signed points; the leading `topic` ones are unsigned and say what it is about.
        subject: Shape [n, 3]: how probably it speaks of its author, of somebody else, of nothing of the kind.
    """

    points: Floats
    subject: Floats


class Head(Protocol):
    """Reads claims; one per encoder."""

    @property
    def fingerprint(self) -> str:
        """Of the encoder and the weights."""

    @property
    def scale(self) -> float:
        """How sharply the nearest statements of a pole count."""

    @property
    def none(self) -> float:
        """The score that a pole must reach to be meant at all."""

    @property
    def topic(self) -> int:
        """How many leading features of a point say what it is about."""

    @property
    def relevance(self) -> Floats:
        """Shape [6]: weights of the five nearness features of a dimension, and a bias."""

    def read(self, layers: Floats, texts: list[str]) -> Reading:
        """The reading of claims from their layers, of shape [n, all layers, d], and their words."""

    def read_words(self, layers: NDArray[Any], words: Floats) -> Reading:
        """The same, from what `claim_features` finds in their words."""

    def known(self, text: str) -> Floats | None:
        """The point of a statement that ships with the head."""


def claim_features(texts: list[str]) -> Floats:
    """What the words say: the lexicon's features, and last whether the claim is denied from outside."""
    return np.stack([np.append(features(text), float(stance(text).flip)) for text in texts]).astype(np.float32)


def statement_key(text: str) -> int:
    """A hash of a statement's words."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedHead:
    """A trained network, in numpy.

    Args:
        fingerprint: Of the encoder and the weights.
        weights: The tensors of the network.
        table: The points of the shipped statements by their key.
    """

    fingerprint: str
    weights: dict[str, Floats]
    table: dict[int, Floats]

    @property
    def scale(self) -> float:
        """How sharply the nearest statements of a pole count."""
        return float(self.weights["beta"][0])

    @property
    def none(self) -> float:
        """The score that a pole must reach to be meant at all."""
        return float(self.weights["none"][0])

    @property
    def relevance(self) -> Floats:
        """Shape [6]: weights of the five nearness features of a dimension, and a bias."""
        return self.weights["relevance"]

    @property
    def topic(self) -> int:
        """How many leading features of a point say what it is about."""
        return int(self.weights["project"].shape[1])

    def read(self, layers: Floats, texts: list[str]) -> Reading:
        """The reading of claims."""
        return self.read_words(layers, claim_features(texts))

    def read_words(self, layers: NDArray[Any], words: Floats) -> Reading:
        """The reading of claims, from their layers and what `claim_features` finds in their words."""
        w = self.weights
        chosen = layers[:, w["layers"].astype(int)].astype(np.float32)
        x = ((chosen - w["mean"]) / w["deviation"][:, None]).reshape(len(layers), -1)
        h = np.concatenate([x, 2 * words], 1) @ w["in"] + w["in_bias"]
        h = _gelu(h)
        gates = np.tanh(h @ w["gate"] + w["gate_bias"])
        first = x[:, : layers.shape[2]]
        signed = np.einsum("nk,nkz->nz", gates, np.einsum("nd,kdz->nkz", first, w["mix"])) + 0.5 * (
            h @ w["out"] + w["out_bias"]
        )
        signed = _unit(signed) * (1 - 2 * words[:, -1:]) * w["sharpness"][0]
        topic = _unit((layers[:, -1].astype(np.float32) - w["centre"]) @ w["project"]) * w["sharpness"][1]
        logits = h @ w["subject"] + w["subject_bias"]
        return Reading(np.concatenate([topic, signed], 1).astype(np.float32), _softmax(logits))

    def known(self, text: str) -> Floats | None:
        """The point of a shipped statement."""
        return self.table.get(statement_key(text))

    def save(self, path: Path) -> None:
        """Write it as safetensors, in half precision."""
        from safetensors.numpy import save_file

        tensors = {
            f"weights.{name}": np.ascontiguousarray(value, dtype=np.float16) for name, value in self.weights.items()
        }
        keys = sorted(self.table)
        tensors["table.keys"] = np.array(keys, dtype=np.uint64)
        tensors["table.points"] = np.stack([self.table[key] for key in keys]).astype(np.float16)
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint, "format": "1"})

    @classmethod
    def load(cls, path: Path) -> "TrainedHead":
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            fingerprint = file.metadata()["fingerprint"]
        points = tensors["table.points"].astype(np.float32)
        return cls(
            fingerprint=fingerprint,
            weights={
                n.removeprefix("weights."): t.astype(np.float32) for n, t in tensors.items() if n.startswith("weights.")
            },
            table={int(key): point for key, point in zip(tensors["table.keys"], points, strict=True)},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainHead:
    """Without training: what a sentence is about, with the sign that its grammar gives it."""

    fingerprint: str
    scale: float = 1.0
    none: float = 6.5
    topic: int = 0
    relevance: Floats = field(default_factory=lambda: np.array([0.0, 1.0, 0.0, 6.0, 3.5, -1.5], dtype=np.float32))

    def read(self, layers: Floats, texts: list[str]) -> Reading:
        """The reading of claims."""
        return self.read_words(layers, claim_features(texts))

    def read_words(self, layers: NDArray[Any], words: Floats) -> Reading:
        """The reading of claims, from their layers and what `claim_features` finds in their words."""
        content = _unit(layers[:, -1])
        sign = np.where(words[:, -2] > 0, -1.0, 1.0) * (1 - 2 * words[:, -1])
        subject = np.array([_subject(row) for row in words], dtype=np.float32)
        return Reading((np.concatenate([content * 2.5, content * sign[:, None] * 1.5], 1)).astype(np.float32), subject)

    def known(self, text: str) -> Floats | None:  # noqa: ARG002 - nothing ships with it
        """Nothing ships with it."""
        return None


def open_head(encoder: Encoder) -> Head:
    """The trained head where one ships for the encoder, else the plain one."""
    shipped = _shipped()
    if shipped is not None and shipped.fingerprint.split("/")[0] == encoder.fingerprint:
        return shipped
    return PlainHead(fingerprint=encoder.fingerprint)


@lru_cache(maxsize=1)
def _shipped() -> TrainedHead | None:
    return TrainedHead.load(SHIPPED) if SHIPPED.exists() else None


def _subject(words: Floats) -> tuple[float, float, float]:
    from persona_align.inference.lexicon import FEATURES

    found = dict(zip((*FEATURES, "flip"), words, strict=True))
    if found["question"] or found["asks"]:
        return (0.6, 0.0, 0.4) if found["to_you"] and not found["question"] else (0.05, 0.0, 0.95)
    if found["first_opens"] or (found["first"] and not found["other_opens"]):
        return 0.85, 0.05, 0.1
    if found["other_opens"] or found["third"]:
        return 0.1, 0.7, 0.2
    return (0.6, 0.0, 0.4) if found["to_you"] else (0.2, 0.0, 0.8)


def _unit(x: NDArray[Any]) -> Floats:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6), dtype=np.float32)


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), dtype=np.float32)


def _gelu(x: Floats) -> Floats:
    """The usual tanh form."""
    return np.asarray(0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), dtype=np.float32)
