"""The poles of a space's dimensions as a head sees them, and which of them a claim is near to."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder
from persona_align.inference.corpus import trait_statements
from persona_align.inference.head import Head
from persona_align.inference.requests import request_statements
from persona_align.preferences import ALIGNX, Dimension, PreferenceSpace

__all__ = ["Match", "Poles", "built_in"]

Floats = NDArray[np.float32]

_FAR = 15.0
_SURE = 0.999
_FEW = 5
"""Statements a pole, up to which the balance between the poles is not left to the head alone."""
_MOST_LEAN = 0.5
_NEAR = 0.6
"""A built-in dimension this like one of a space's own is not the rest of the world."""


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

    A claim belongs to a dimension as far as its poles are nearer than those of all others. A space with few dimensions
    has nothing to compare with, so those that ship with the head stand behind it as the rest of the world, except where
    they are near to one of the space's own.

    Args:
        head: Reads them.
        encoder: Encodes those that do not ship with the head.
        space: The dimensions; those without statements are never meant.
    """

    def __init__(self, head: Head, encoder: Encoder, space: PreferenceSpace) -> None:
        self.head = head
        self.size = len(space)
        families = [dimension.family for dimension in space]
        texts, poles = _statements(space)
        points = self._read(encoder, texts)
        rest = [dimension for dimension in ALIGNX if dimension.key not in space and dimension.high_statements]
        if rest and head.known(rest[0].high_statements[0]) is not None:
            more, behind = _statements(PreferenceSpace(dimensions=tuple(rest)))
            others = self._read(encoder, more)
            far = _far(points, poles, others, behind)
            families += [dimension.family for dimension in rest]
            points = np.concatenate([points, others[far]])
            poles = np.concatenate([poles, behind[far] + 2 * self.size])
        names = np.array(families)
        self._families = [np.flatnonzero(names == family) for family in dict.fromkeys(families)]
        self.points = points
        self.dimension_of = poles // 2
        self._poles = poles
        self._present, self._starts, self._counts = np.unique(poles, return_index=True, return_counts=True)
        self._lean = self._leaning([number for number, each in enumerate(space) if not built_in(each)])

    @property
    def width(self) -> int:
        """The features of a point."""
        return int(self.points.shape[1])

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

    def _leaning(self, own: list[int]) -> Floats:
        """How far dimensions of few statements lean to a pole: where their own fall, each read against the others.

        One pole's statements are often nearer to everything on the subject than the other's ("kilometres" against
        "miles"). The midpoint between the two, and not zero, then divides them.
        """
        lean = np.zeros(self.size, dtype=np.float32)
        rows = np.flatnonzero(np.isin(self.dimension_of, own))
        if not len(rows):
            return lean
        value = np.arctanh(np.clip(self.compare(self.points[rows], own=rows)[1], -_SURE, _SURE))
        for number in own:
            sides = [rows_of for rows_of in (self._rows(number, 0), self._rows(number, 1)) if 2 <= len(rows_of) <= _FEW]
            if len(sides) == 2:
                means = [float(value[np.searchsorted(rows, side), number].mean()) for side in sides]
                lean[number] = np.clip(sum(means) / 2, -_MOST_LEAN, _MOST_LEAN)
        return lean

    def _rows(self, number: int, side: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._poles == 2 * number + side)

    def match(self, points: Floats) -> Match:
        """What claims say, from their points of shape [n, features]."""
        features, value = self.compare(points)
        # Only here, not in `compare`: training reads that one before anything is known of the balance.
        value = np.tanh(np.arctanh(np.clip(value, -_SURE, _SURE)) - self._lean)
        weights = self.head.relevance
        meant = 1.0 / (1.0 + np.exp(-np.clip(features @ weights[:-1] + weights[-1], -30.0, 30.0)))
        return Match(value, meant)

    def compare(self, points: Floats, own: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
        """How near claims are to each dimension, and on which side.

        Args:
            points: Shape [n, features].
            own: Shape [n]: of statements that are among the poles, which; each is then compared with the others only.

        Returns:
            Shape [n, dimensions, 5]: score over that of saying nothing, log probability among the dimensions of the
            family and among all, likeness of the nearest statement, and how far that is behind the nearest of the
            family; and values of shape [n, dimensions].
        """
        count = sum(map(len, self._families))
        scores = np.full((len(points), 2 * count), -_FAR, dtype=np.float32)
        likeness = np.full((len(points), 2 * count), -1.0, dtype=np.float32)
        if len(self.points) and len(points):
            scaled = self.head.scale * (points @ self.points.T)
            topic = points[:, : self.head.topic] @ self.points[:, : self.head.topic].T
            topic = topic / max(float(np.square(self.points[0, : self.head.topic]).sum()), 1e-6)
            if own is not None:
                scaled[np.arange(len(own)), own] = -_FAR
                topic[np.arange(len(own)), own] = -1.0
            top = scaled.max(1, keepdims=True)
            sums = np.add.reduceat(np.exp(scaled - top), self._starts, axis=1) / self._counts
            scores[:, self._present] = (np.log(sums + 1e-12) + top) / self.head.scale
            likeness[:, self._present] = np.maximum.reduceat(topic, self._starts, axis=1)
        high, low = scores[:, 0::2], scores[:, 1::2]
        best = np.maximum(high, low)
        total = np.logaddexp(np.logaddexp.reduce(scores, axis=1), self.head.none)[:, None]
        near = np.maximum(likeness[:, 0::2], likeness[:, 1::2])
        among = np.empty_like(best)
        behind = np.empty_like(best)
        for family in self._families:
            part = np.logaddexp.reduce(np.concatenate([high[:, family], low[:, family]], 1), axis=1)
            among[:, family] = best[:, family] - np.logaddexp(part, self.head.none)[:, None]
            behind[:, family] = near[:, family] - near[:, family].max(1, keepdims=True)
        features = np.stack([best - self.head.none, among, best - total, near, behind], axis=-1)
        return np.clip(features, -_FAR, _FAR)[:, : self.size], np.tanh((high - low) / 2)[:, : self.size]


def _statements(space: PreferenceSpace) -> tuple[list[str], NDArray[np.int64]]:
    """The statements of a space and the pole of each: even numbers are high ones."""
    texts: list[str] = []
    poles: list[int] = []
    more = {**trait_statements(), **request_statements()}
    for number, dimension in enumerate(space):
        for side, statements in ((0, dimension.high_statements), (1, dimension.low_statements)):
            # Some built-in dimensions have further statements; one of the same name that was defined anew has not.
            extra = more.get((dimension.key, side), ()) if built_in(dimension) else ()
            texts += [*statements, *extra]
            poles += [2 * number + side] * (len(statements) + len(extra))
    return texts, np.array(poles, dtype=np.int64)


def built_in(dimension: Dimension) -> bool:
    """Whether a dimension is one of ALIGNX, and not another of its name."""
    return dimension.key in ALIGNX and ALIGNX[dimension.key].high_statements == dimension.high_statements


def _far(points: Floats, poles: NDArray[np.int64], others: Floats, behind: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which statements of other dimensions belong to ones that are not near to any of the space's own."""
    if not len(points):
        return np.ones(len(others), dtype=bool)
    mine, theirs = (
        np.stack([p[at // 2 == n].mean(0) for n in np.unique(at // 2)]) for p, at in ((points, poles), (others, behind))
    )
    mine, theirs = (m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-6) for m in (mine, theirs))
    near = dict(zip(np.unique(behind // 2).tolist(), (theirs @ mine.T).max(1) > _NEAR, strict=True))
    return np.array([not near[int(number)] for number in behind // 2])
