"""The space in which taste lives: what differs between two replies, and how much of it people's tastes explain.

Differences of style features are projected on directions in which noise (two replies that differ by accident) has unit
variance, and `signal` says how much variance taste adds there. Both come from a reference corpus of our own, once.
"""

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, Encoding
from persona_align.inference.style_surface import surface_features
from persona_align.preferences import ALIGNX

__all__ = ["StyleSpace", "open_style_space", "style_features"]

Floats = NDArray[np.float32]
SHIPPED = Path(__file__).parent / "data" / "style_space.safetensors"
_lock = threading.Lock()
_plain: dict[str, "StyleSpace"] = {}
_log = logging.getLogger("persona_align.inference")


@dataclass(frozen=True, kw_only=True, eq=False)
class StyleSpace:
    """Directions of style with unit noise, and the variance that taste has in each.

    Args:
        fingerprint: Of the encoder whose features it reads.
        basis: Shape [k, features].
        signal: Shape [k], not negative: the variance of taste in multiples of the noise's.
    """

    fingerprint: str
    basis: Floats
    signal: Floats

    @property
    def version(self) -> str:
        """Identifies the numbers of this space."""
        return hashlib.sha256(self.basis.tobytes() + self.signal.tobytes()).hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write it as safetensors, the basis in half precision."""
        from safetensors.numpy import save_file

        tensors: dict[str, np.ndarray] = {
            "basis": self.basis.astype(np.float16),
            "signal": self.signal.astype(np.float32),
        }
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint, "format": "1"})

    @classmethod
    def load(cls, path: Path) -> "StyleSpace":
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            fingerprint = file.metadata()["fingerprint"]
            basis, signal = file.get_tensor("basis"), file.get_tensor("signal")
        return cls(fingerprint=fingerprint, basis=basis.astype(np.float32), signal=signal.astype(np.float32))


def style_features(encoding: Encoding) -> Floats:
    """Shape [layers * d + 19]: pooled lower layers, then what can be counted on the surface."""
    return np.concatenate([encoding.style, surface_features(encoding.sentences)]).astype(np.float32)


def open_style_space(encoder: Encoder) -> StyleSpace:
    """The style space of an encoder: the shipped one where the fingerprint matches, else a plain one, made once."""
    shipped = _shipped()
    if shipped is not None and shipped.fingerprint == encoder.fingerprint:
        return shipped
    with _lock:
        if encoder.fingerprint not in _plain:
            _log.info("no style space is shipped for encoder %s: taste uses a plain one", encoder.fingerprint)
            _plain[encoder.fingerprint] = plain_style_space(encoder, _sentences())
        return _plain[encoder.fingerprint]


def plain_style_space(encoder: Encoder, sentences: Sequence[str], *, directions: int = 64) -> StyleSpace:
    """A space without knowledge of registers: standardised features, their main directions, the same signal in each."""
    if len(sentences) < 64:
        return StyleSpace(
            fingerprint=encoder.fingerprint, basis=np.zeros((0, 0), np.float32), signal=np.zeros(0, np.float32)
        )
    features = np.stack([style_features(encoding) for encoding in encoder.encode(sentences)])
    scale = features.std(0) + 1e-6
    scaled = (features - features.mean(0)) / scale
    _, strengths, directions_ = np.linalg.svd(scaled, full_matrices=False)
    kept = min(directions, len(strengths))
    noise = np.sqrt(2.0 * (strengths**2).mean() / len(sentences))
    basis = directions_[:kept] / scale / max(float(noise), 1e-6)
    return StyleSpace(
        fingerprint=encoder.fingerprint, basis=basis.astype(np.float32), signal=np.full(kept, 0.05, np.float32)
    )


@lru_cache(maxsize=1)
def _shipped() -> StyleSpace | None:
    return StyleSpace.load(SHIPPED) if SHIPPED.exists() else None


def _sentences() -> list[str]:
    """Three statements of each pole of every dimension: varied in matter, alike in register."""
    poles = (pole for dimension in ALIGNX for pole in (dimension.high_statements, dimension.low_statements))
    return [sentence for pole in poles for sentence in pole[:3]]
