"""Taste: which of several replies a user would prefer, learnt from a handful of comparisons.

A user's taste is a shift u in the style space, u ~ N(0, signal); what sets a chosen reply apart from its rejected
neighbour is that shift plus unit noise. The posterior of u is exact and diagonal, and the score of a reply is the log
odds that it, rather than an average of the candidates, is the one this user would have chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, Encoding
from persona_align.inference.style_space import StyleSpace, open_style_space, style_features

__all__ = ["Taste", "comparison_numbers"]

Floats = NDArray[np.float32]

PROMPT_DRIFT = 0.25
"""How much a taste differs between unrelated prompts, as a share of how much it differs between people."""
INDIFFERENT = 0.001
"""Log odds that are closer to zero than this, for every candidate, are not an opinion."""


def comparison_numbers(prompt: Encoding | None, chosen: Encoding, rejected: Encoding) -> dict[str, np.ndarray]:
    """What memory keeps of a comparison, about 5 kB: how the replies differ in style and what the prompt was about.

    Args:
        prompt: Encoding of the prompt; None or empty where it is not known.
        chosen: Encoding of the reply that the user preferred.
        rejected: Encoding of the other one.

    Returns:
        `style_difference`, float16 [features], and `prompt_content`, float16 [d].
    """
    limit = np.finfo(np.float16).max
    difference = np.clip(style_features(chosen) - style_features(rejected), -limit, limit)
    content = np.zeros_like(chosen.content) if prompt is None else prompt.content
    return {"style_difference": difference.astype(np.float16), "prompt_content": content.astype(np.float16)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Taste:
    """The taste of one user, given their comparisons.

    Args:
        space: The style space.
        shifts: Shape [n, k]: each comparison in the style space.
        prompts: Shape [n, d]: what each comparison's prompt was about; zeros where not known.
    """

    space: StyleSpace
    shifts: Floats
    prompts: Floats

    @classmethod
    def fit(
        cls, comparisons: Sequence[Mapping[str, np.ndarray]], *, encoder: Encoder, space: StyleSpace | None = None
    ) -> "Taste":
        """The taste that comparisons show; comparisons without numbers of this encoder are left out.

        Args:
            comparisons: What `comparison_numbers` gave for each.
            encoder: The encoder that made them.
            space: A style space of the encoder; None is the shipped one, or for other encoders a plain one.
        """
        space = space or open_style_space(encoder)
        features = space.basis.shape[1]
        usable = [
            numbers
            for numbers in comparisons
            if "style_difference" in numbers and numbers["style_difference"].shape == (features,)
        ]
        if not usable or not features:
            return cls(
                space=space, shifts=np.zeros((0, len(space.signal)), np.float32), prompts=np.zeros((0, 0), np.float32)
            )
        differences = np.stack([numbers["style_difference"] for numbers in usable]).astype(np.float32)
        prompts = np.stack([numbers["prompt_content"] for numbers in usable]).astype(np.float32)
        return cls(space=space, shifts=differences @ space.basis.T, prompts=prompts)

    @property
    def abstains(self) -> bool:
        """Whether there is nothing to rank by: no comparison, or only ones between replies of the same style."""
        return not np.any(self.shifts)

    def posterior(self, prompt: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean and variance, each [k], of the user's shift for a prompt.

        Args:
            prompt: Shape [d], unit length: comparisons about other matters count for less; None counts all in full.
        """
        signal = self.space.signal
        unlike = np.zeros(len(self.shifts), np.float32)
        if prompt is not None and self.prompts.shape[1:] == prompt.shape:
            known = np.linalg.norm(self.prompts, axis=1) > 0.5
            unlike = np.where(known, 1.0 - np.clip(self.prompts @ prompt, 0.0, 1.0), 0.5).astype(np.float32)
        precision = (1.0 / (1.0 + 2.0 * PROMPT_DRIFT * unlike))[:, None]
        variance = signal / (1.0 + signal * precision.sum(0))
        return variance * (precision * self.shifts).sum(0), variance

    def direction(self, prompt: Floats | None = None) -> NDArray[np.float64]:
        """Shape [k]: log odds per unit of a difference of two replies in the style space.

        Args:
            prompt: Shape [d], unit length; None counts all comparisons in full.
        """
        mean, variance = self.posterior(prompt)
        return (2.0 * mean / (1.0 + variance)).astype(np.float64)

    def forgetting(self) -> "Taste":
        """The taste of nobody: it abstains."""
        return Taste(space=self.space, shifts=self.shifts[:0], prompts=self.prompts[:0])

    def scores(self, prompt: Encoding | None, candidates: Sequence[Encoding]) -> NDArray[np.float64]:
        """Shape [candidates]: log odds that the user prefers each one to an average of them; all 0.0 is an abstention.

        Args:
            prompt: Encoding of the prompt.
            candidates: Encodings of the replies to rank.
        """
        if len(candidates) < 2 or self.abstains:
            return np.zeros(len(candidates))
        shifts = np.stack([style_features(candidate) for candidate in candidates]) @ self.space.basis.T
        direction = self.direction(None if prompt is None else prompt.content)
        scores = (shifts - shifts.mean(0)).astype(np.float64) @ direction
        return scores if np.abs(scores).max() >= INDIFFERENT else np.zeros(len(candidates))
