"""The poles of a space's dimensions as a head sees them, and which of them a claim is near to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder
from persona_align.inference.corpus import trait_statements
from persona_align.inference.head import Head
from persona_align.preferences import PreferenceSpace

__all__ = ["Match", "Poles"]

Floats = NDArray[np.float32]


class Match(NamedTuple):
    """What claims say about each dimension.

    Args:
        value: Shape [n, dimensions], in [-1, 1]: towards which pole.
        meant: Shape [n, dimensions], in [0, 1]: how probably the dimension is meant at all.
    """

    value: Floats
    meant: Floats


class Poles:
    """The statements of a space, read by a head.

    Args:
        head: Reads them.
        encoder: Encodes those that do not ship with the head.
        space: The dimensions; those without statements are never meant.
    """

    def __init__(self, head: Head, encoder: Encoder, space: PreferenceSpace) -> None:
        self.head = head
        self.size = len(space)
        texts: list[str] = []
        poles: list[int] = []
        more = trait_statements()
        for number, dimension in enumerate(space):
            for side, statements in ((0, dimension.high_statements), (1, dimension.low_statements)):
                # The broad traits of the built-in space have further statements beside the anchors.
                extra = more.get((dimension.key, side), ()) if dimension.family == "dispositional" else ()
                texts += [*statements, *extra]
                poles += [2 * number + side] * (len(statements) + len(extra))
        self._points = self._read(encoder, texts)
        order = np.array(poles, dtype=np.int64)
        self._present, self._starts, self._counts = np.unique(order, return_index=True, return_counts=True)

    @property
    def width(self) -> int:
        """The features of a point."""
        return int(self._points.shape[1])

    def _read(self, encoder: Encoder, texts: list[str]) -> Floats:
        known = [self.head.known(text) for text in texts]
        missing = [text for text, point in zip(texts, known, strict=True) if point is None]
        fresh: list[Floats] = []
        if missing:
            layers = np.stack([each.sentence_layers.mean(0) for each in encoder.encode(missing)])
            fresh = list(self.head.read(layers, missing).points)
        later = iter(fresh)
        points = [next(later) if point is None else point for point in known]
        return np.stack(points).astype(np.float32) if points else np.zeros((0, 1), np.float32)

    def match(self, points: Floats) -> Match:
        """What claims say, from their points of shape [n, features]."""
        scores = np.full((len(points), 2 * self.size), -np.inf, dtype=np.float32)
        if len(self._points) and len(points):
            scaled = self.head.scale * (points @ self._points.T)
            top = scaled.max(1, keepdims=True)
            sums = np.add.reduceat(np.exp(scaled - top), self._starts, axis=1) / self._counts
            scores[:, self._present] = (np.log(sums + 1e-12) + top) / self.head.scale
        high, low = scores[:, 0::2], scores[:, 1::2]
        ceiling = np.maximum(np.maximum(high, low), self.head.none)
        up, down, none = np.exp(high - ceiling), np.exp(low - ceiling), np.exp(self.head.none - ceiling)
        either = up + down
        value = np.divide(up - down, either, out=np.zeros_like(either), where=either > 0)
        return Match(value, either / (either + none))
