"""Encoded training messages, kept between runs: encoding is most of what training costs."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import TOKEN_LAYERS, Encoder

__all__ = ["Encoded", "encoded"]


class Encoded(NamedTuple):
    """What an encoding says of the sentences of a text.

    Args:
        sentences: The sentences.
        layers: Shape [sentences, all layers, d]: every layer of the encoder, pooled over each.
        tokens: For each, shape [its tokens, len(TOKEN_LAYERS), d].
    """

    sentences: tuple[str, ...]
    layers: NDArray[np.float16]
    tokens: tuple[NDArray[np.float16], ...]


def encoded(encoder: Encoder, texts: Sequence[str], cache: Path | None = None) -> dict[str, Encoded]:
    """The encodings of texts.

    Args:
        encoder: The encoder.
        texts: The texts.
        cache: A file that keeps them for the next time; for this version of the encoder and of its sentence splitting.
    """
    wanted = set(texts)
    with sqlite3.connect(cache or ":memory:") as kept:
        kept.execute("CREATE TABLE IF NOT EXISTS encoded (encoder, text, sentences, counts, layers, tokens)")
        rows = kept.execute(
            "SELECT text, sentences, counts, layers, tokens FROM encoded WHERE encoder = ?", [_name(encoder)]
        )
        known = {row[0]: _read(encoder.dimension, *row[1:]) for row in rows if row[0] in wanted}
        missing = sorted(wanted - known.keys(), key=lambda text: (len(text), text))
        for first in range(0, len(missing), 512):
            chunk = missing[first : first + 512]
            for text, encoding in zip(chunk, encoder.encode(chunk), strict=True):
                layers = encoding.sentence_layers.astype(np.float16)
                known[text] = Encoded(encoding.sentences, layers, encoding.sentence_tokens)
                if cache is not None:
                    counts = json.dumps([len(tokens) for tokens in encoding.sentence_tokens])
                    tokens = np.concatenate(encoding.sentence_tokens).tobytes()
                    row = [_name(encoder), text, json.dumps(encoding.sentences), counts, layers.tobytes(), tokens]
                    kept.execute("INSERT INTO encoded VALUES (?, ?, ?, ?, ?, ?)", row)
            kept.commit()
    return known


def _name(encoder: Encoder) -> str:
    return f"{encoder.fingerprint}/{TOKEN_LAYERS}"


def _read(width: int, sentences: str, counts: str, layers: bytes, tokens: bytes) -> Encoded:
    names, sizes = tuple(json.loads(sentences)), json.loads(counts)
    every: NDArray[Any] = np.frombuffer(tokens, dtype=np.float16).reshape(-1, len(TOKEN_LAYERS), width)
    pooled: NDArray[Any] = np.frombuffer(layers, dtype=np.float16).reshape(len(names), -1, width)
    return Encoded(names, pooled, tuple(np.split(every, np.cumsum(sizes)[:-1])))
