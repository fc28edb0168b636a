"""Which of the built-in dimensions a claim speaks of, towards which pole, and whether of its author.

A few small networks, averaged, over the frozen tokens of the encoder and what can be counted in the words. Each head of
a network attends to the tokens that tell it something; trained by train_dimensions.py on messages of our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder
from persona_align.inference.head import claim_features
from persona_align.inference.poles import Match
from persona_align.inference.valence import valence

__all__ = [
    "SHIPPED",
    "DimensionReader",
    "Readings",
    "open_dimensions",
    "reader_features",
    "said_evidence",
    "side_evidence",
]

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).parent / "data" / "dimensions.safetensors"


class Readings(NamedTuple):
    """What claims say of the person whom they are about, and who that is.

    Args:
        said: Shape [n, dimensions]: the probability that a dimension is spoken of.
        side: Shape [n, dimensions]: log odds that it is towards the high pole then.
        subject: Shape [n, 3]: that it speaks of its author, of somebody else, of nothing of the kind.
    """

    said: Floats
    side: Floats
    subject: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class DimensionReader:
    """The trained networks, in numpy.

    Args:
        fingerprint: Of the encoder and the weights.
        keys: The dimensions that it reads, in order.
        weights: The tensors. `mean` [layers, d] and `deviation` [layers] standardise tokens; `score` [inputs, heads]
            says how much a head attends to a token, `value` [heads, inputs, width] what it takes there. Of each member:
            `in` [members, features, hidden], `out` [members, hidden, 2 * dimensions], `subject` [members, hidden, 3];
            `side_in` [members, features, hidden] and `side_out` [members, hidden, dimensions]; each with its bias. And
            `said`, shape [3], and `side`, shape [2]: weights of the two readings, and an offset.
    """

    fingerprint: str
    keys: tuple[str, ...]
    weights: dict[str, Floats]

    def read(self, tokens: Sequence[NDArray[Any]], texts: list[str]) -> Readings:
        """What claims say.

        Args:
            tokens: For each claim, shape [its tokens, layers, d], as in `Encoding.sentence_tokens`.
            texts: Their words.
        """
        return self.read_words(tokens, reader_features(texts))

    def read_words(self, tokens: Sequence[NDArray[Any]], words: Floats) -> Readings:
        """What claims say, from their tokens and what `reader_features` finds in their words."""
        w = self.weights
        x = np.concatenate([self._attended(tokens), np.broadcast_to(2 * words, (len(w["in"]), *words.shape))], 2)
        hidden = _gelu(x @ w["in"] + w["in_bias"][:, None])
        logits = (hidden @ w["out"] + w["out_bias"][:, None]).reshape(len(x), len(words), 2, -1)
        said = 1 - _softmax(np.concatenate([np.zeros_like(logits[:, :, :1]), logits], 2), 2)[:, :, 0].mean(0)
        subject = _softmax(hidden @ w["subject"] + w["subject_bias"][:, None], 2).mean(0)
        hidden = _gelu(x @ w["side_in"] + w["side_in_bias"][:, None])
        side = (hidden @ w["side_out"] + w["side_out_bias"][:, None]).mean(0)
        denied = words[:, -1:] > 0.5
        return Readings(said, np.where(denied, -side, side), subject)

    def _attended(self, tokens: Sequence[NDArray[Any]]) -> Floats:
        """Shape [members, n, features]: what the heads of each member take from the tokens of each claim."""
        w = self.weights
        pooled = np.empty((len(tokens), *w["score"].shape[::-1]), dtype=np.float32)
        for row, claim in enumerate(tokens):
            standard = (claim.astype(np.float32) - w["mean"]) / w["deviation"][:, None]
            x = np.asarray(standard, dtype=np.float32).reshape(len(claim), -1)
            pooled[row] = _softmax(x @ w["score"], 0).T @ x
        taken = pooled.transpose(1, 0, 2) @ w["value"]
        members = taken.reshape(len(w["in"]), -1, *taken.shape[1:])
        return members.transpose(0, 2, 1, 3).reshape(len(members), len(tokens), -1)

    def weigh(self, said: Floats, side: Floats, match: Match) -> tuple[Floats, Floats]:
        """What claims say, by the networks and by the statements that they are near to.

        Args:
            said: Shape [n, dimensions].
            side: Shape [n, dimensions].
            match: What the nearness to statements says of the same dimensions.

        Returns:
            Probabilities that hold on messages that were held back in training, each of shape [n, dimensions]: that a
            dimension is spoken of, and that it is towards the high pole then.
        """
        w = self.weights
        spoken = np.tensordot(w["said"][:-1], said_evidence(said, match), 1) + w["said"][-1]
        return _sigmoid(spoken), _sigmoid(np.tensordot(w["side"], side_evidence(side, match), 1))

    def save(self, path: Path) -> None:
        """Write it as safetensors, in half precision."""
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in self.weights.items()}
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint, "keys": " ".join(self.keys), "format": "2"})

    @classmethod
    def load(cls, path: Path) -> "DimensionReader":
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            weights = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118 - no dict
            about = file.metadata()
        return cls(fingerprint=about["fingerprint"], keys=tuple(about["keys"].split()), weights=weights)


def reader_features(texts: list[str]) -> Floats:
    """What the words say: how warm they are, then what `claim_features` finds, last whether the claim is denied."""
    return np.concatenate([np.stack([valence(text) for text in texts]), claim_features(texts)], 1)


def said_evidence(said: Floats, match: Match) -> Floats:
    """Shape [2, n, dimensions]: log odds that a dimension is spoken of, by the networks and by nearness."""
    both = np.clip(np.stack([said, match.meant]), 1e-5, 1 - 1e-5)
    return np.asarray(np.log(both / (1 - both)), dtype=np.float32)


def side_evidence(side: Floats, match: Match) -> Floats:
    """Shape [2, n, dimensions]: log odds of the high pole, by the networks and by nearness."""
    return np.stack([side, 2 * np.arctanh(np.clip(match.value, -0.999, 0.999))]).astype(np.float32)


def open_dimensions(encoder: Encoder) -> DimensionReader | None:
    """The trained reader where one ships for the encoder."""
    shipped = _shipped()
    return shipped if shipped is not None and shipped.fingerprint.split("/")[0] == encoder.fingerprint else None


@lru_cache(maxsize=1)
def _shipped() -> DimensionReader | None:
    return DimensionReader.load(SHIPPED) if SHIPPED.exists() else None


def _sigmoid(x: NDArray[Any]) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), dtype=np.float32)


def _softmax(x: Floats, axis: int) -> Floats:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True), dtype=np.float32)


def _gelu(x: Floats) -> Floats:
    """The usual tanh form."""
    return np.asarray(0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), dtype=np.float32)
