"""Encoded training messages, kept between runs: encoding is most of what training costs."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder

__all__ = ["Encoded", "encoded"]


class Encoded(NamedTuple):
    """The sentences of a text, and every layer of the encoder pooled over each: shape [sentences, all layers, d]."""

    sentences: tuple[str, ...]
    layers: NDArray[np.float16]


def encoded(encoder: Encoder, texts: Sequence[str], cache: Path | None = None) -> dict[str, Encoded]:
    """The encodings of texts.

    Args:
        encoder: The encoder.
        texts: The texts.
        cache: A file that keeps them for the next time; for this version of the encoder and of its sentence splitting.
    """
    with sqlite3.connect(cache or ":memory:") as kept:
        kept.execute("CREATE TABLE IF NOT EXISTS encoded (encoder, text, sentences, width, layers)")
        known = {
            text: Encoded(tuple(found := json.loads(sentences)), _array(layers, len(found), width))
            for text, sentences, width, layers in kept.execute(
                "SELECT text, sentences, width, layers FROM encoded WHERE encoder = ?", [encoder.fingerprint]
            )
        }
        missing = sorted({text for text in texts if text not in known}, key=len)
        for first in range(0, len(missing), 512):
            chunk = missing[first : first + 512]
            for text, encoding in zip(chunk, encoder.encode(chunk), strict=True):
                layers = encoding.sentence_layers.astype(np.float16)
                known[text] = Encoded(encoding.sentences, layers)
                row = [encoder.fingerprint, text, json.dumps(encoding.sentences), layers.shape[-1], layers.tobytes()]
                kept.execute("INSERT INTO encoded VALUES (?, ?, ?, ?, ?)", row)
            kept.commit()
    return {text: known[text] for text in texts}


def _array(data: bytes, sentences: int, width: int) -> NDArray[np.float16]:
    return np.frombuffer(data, dtype=np.float16).reshape(sentences, -1, width)
