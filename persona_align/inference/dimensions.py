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
        weights: The tensors: `in` [inputs, members * hidden], `out` [members, hidden, 2 * dimensions], `subject`
            [members, hidden, 3], and those of train_sides.py, each with its bias; `mean` and `deviation` of the chosen
            `layers`; `said`, shape [3], and `side`, shape [2]: weights of the two readings, and an offset.
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
        x = np.concatenate([x, 2 * words], 1)
        hidden = _hidden(x, w["in"], w["in_bias"], len(w["out"]))
        logits = (hidden @ w["out"] + w["out_bias"][:, None]).reshape(len(w["out"]), len(x), 2, -1)
        said = 1 - _softmax(np.concatenate([np.zeros_like(logits[:, :, :1]), logits], 2), 2)[:, :, 0].mean(0)
        subject = _softmax(hidden @ w["subject"] + w["subject_bias"][:, None], 2).mean(0)
        hidden = _hidden(x, w["side_in"], w["side_in_bias"], len(w["side_out"]))
        side = (hidden @ w["side_out"] + w["side_out_bias"][:, None]).mean(0)
        denied = words[:, -1:] > 0.5
        return Readings(said, np.where(denied, -side, side), subject)

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


def _hidden(x: Floats, weight: Floats, bias: Floats, members: int) -> Floats:
    """Shape [members, n, hidden]."""
    return _gelu(x @ weight + bias).reshape(len(x), members, -1).transpose(1, 0, 2)


def _softmax(x: Floats, axis: int) -> Floats:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True), dtype=np.float32)


def _gelu(x: Floats) -> Floats:
    """The usual tanh form."""
    return np.asarray(0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), dtype=np.float32)
