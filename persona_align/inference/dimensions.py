"""Which of the built-in dimensions a claim speaks of, towards which pole, and whether of its author.

A few small networks, averaged, over frozen features of the encoder and of the words; trained by train_dimensions.py on
messages of our own.
"""

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

__all__ = ["SHIPPED", "DimensionReader", "Readings", "Weighed", "open_dimensions", "reader_features", "weighed"]

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).parent / "data" / "dimensions.safetensors"


class Readings(NamedTuple):
    """What claims say of the person whom they are about, and who that is.

    Args:
        poles: Shape [n, 2, dimensions]: the probability that the high pole is stated, and the low one.
        subject: Shape [n, 3]: that it speaks of its author, of somebody else, of nothing of the kind.
    """

    poles: Floats
    subject: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class DimensionReader:
    """The trained networks, in numpy.

    Args:
        fingerprint: Of the encoder and the weights.
        keys: The dimensions that it reads, in order.
        weights: The tensors: `in` [inputs, members * hidden], `out` [members, hidden, 2 * dimensions], `subject`
            [members, hidden, 3], each with its bias; `mean` and `deviation` of the chosen `layers`; `said`, shape [3],
            and `side`, shape [2]: weights of the two readings, and an offset.
    """

    fingerprint: str
    keys: tuple[str, ...]
    weights: dict[str, Floats]

    def read(self, layers: Floats, texts: list[str]) -> Readings:
        """What claims say.

        Args:
            layers: Shape [n, all layers, d]: every layer of the encoder, pooled over each claim.
            texts: Their words.
        """
        return self.read_words(layers, reader_features(texts))

    def read_words(self, layers: NDArray[Any], words: Floats) -> Readings:
        """What claims say, from their layers and what `reader_features` finds in their words."""
        w = self.weights
        chosen = layers[:, w["layers"].astype(int)].astype(np.float32)
        x = ((chosen - w["mean"]) / w["deviation"][:, None]).reshape(len(layers), -1)
        hidden = _gelu(np.concatenate([x, 2 * words], 1) @ w["in"] + w["in_bias"])
        hidden = hidden.reshape(len(x), len(w["out"]), -1).transpose(1, 0, 2)
        logits = (hidden @ w["out"] + w["out_bias"][:, None]).reshape(len(w["out"]), len(x), 2, -1)
        poles = _softmax(np.concatenate([np.zeros_like(logits[:, :, :1]), logits], 2), 2)[:, :, 1:].mean(0)
        denied = words[:, -1] > 0.5
        poles[denied] = poles[denied, ::-1]
        subject = _softmax(hidden @ w["subject"] + w["subject_bias"][:, None], 2).mean(0)
        return Readings(poles, subject)

    def weigh(self, poles: Floats, match: Match) -> Floats:
        """What claims say, by the networks and by the statements that they are near to.

        Args:
            poles: Shape [n, 2, dimensions]: probabilities of the networks.
            match: What the nearness to statements says of the same dimensions.

        Returns:
            Shape [n, 2, dimensions]: probabilities that hold on messages that were held back in training.
        """
        evidence = weighed(poles, match)
        said = _sigmoid(np.tensordot(self.weights["said"][:-1], evidence.said, 1) + self.weights["said"][-1])
        high = _sigmoid(np.tensordot(self.weights["side"], evidence.side, 1))
        return np.stack([said * high, said * (1 - high)], 1).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it as safetensors, in half precision."""
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in self.weights.items()}
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint, "keys": " ".join(self.keys), "format": "1"})

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


class Weighed(NamedTuple):
    """Log odds that a dimension is meant, and of its high pole; each of shape [2, n, dimensions], networks first."""

    said: Floats
    side: Floats


def weighed(poles: Floats, match: Match) -> Weighed:
    """What the two readings say."""
    near = np.stack([match.meant * (1 + match.value) / 2, match.meant * (1 - match.value) / 2], 1)
    both = np.stack([poles, near])
    said = np.clip(both.sum(2), 1e-5, 1 - 1e-5)
    return Weighed(np.log(said / (1 - said)), np.log((both[:, :, 0] + 1e-4) / (both[:, :, 1] + 1e-4)))


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
