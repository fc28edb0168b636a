"""Which topics a prompt concerns, so that an interest colours a reply only where it belongs."""

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder
from persona_align.preferences import PreferenceSpace

__all__ = ["Topics"]

Floats = NDArray[np.float32]

_NEAREST = 3
"""A prompt is as near to a topic as to this many of its statements, on average."""
_THRESHOLD = 0.33
"""The nearness from which on a prompt concerns a topic."""
_MARGIN = 0.12
"""How far behind the nearest topic another one may lie."""


class Topics:
    """The topic dimensions of a space, as places in an encoder's content space.

    Args:
        encoder: Embeds the statements, once.
        space: The dimensions; those of scope "topic" with statements are used.
    """

    def __init__(self, encoder: Encoder, space: PreferenceSpace) -> None:
        topics = [d for d in space if d.scope == "topic" and d.high_statements and d.low_statements]
        self.keys = tuple(dimension.key for dimension in topics)
        statements = [
            text
            for dimension in topics
            for text in (*dimension.high_statements, *dimension.low_statements, dimension.key.replace("_", " "))
        ]
        sizes = [len(d.high_statements) + len(d.low_statements) + 1 for d in topics]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self._vectors = (
            np.stack([encoding.content for encoding in encoder.encode(statements)]) if statements else np.empty((0, 0))
        )

    def nearness(self, content: Floats) -> dict[str, float]:
        """How near a text is to each topic: the mean cosine to its nearest statements.

        Args:
            content: Shape [d], unit length.
        """
        if not self.keys:
            return {}
        cosine = self._vectors @ content
        parts = (cosine[a:b] for a, b in zip(self._starts, self._starts[1:], strict=False))
        return {key: float(np.sort(part)[-_NEAREST:].mean()) for key, part in zip(self.keys, parts, strict=True)}

    def relevant(self, content: Floats) -> frozenset[str]:
        """The keys of the topics that a text concerns.

        Args:
            content: Shape [d], unit length.
        """
        near = self.nearness(content)
        if not near:
            return frozenset()
        bar = max(_THRESHOLD, max(near.values()) - _MARGIN)
        return frozenset(key for key, value in near.items() if value >= bar)
