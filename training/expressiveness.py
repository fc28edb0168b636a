"""Trains the expressiveness head: does a sentence say something about the tastes, habits or nature of its author?

Positive are the anchor statements of the preference space and the frames of expressiveness.toml, alone or in the middle
of a request; negative are requests, small talk, facts and other people's tastes. One logistic regression over pooled
layers of the default encoder. Run: `python training/expressiveness.py` writes persona_align/inference/data/.
"""

import argparse
import tomllib
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from style_space import read_corpus

from persona_align.encoder import Encoder, Encoding, open_encoder
from persona_align.inference.expressiveness import SHIPPED, Expressiveness, sentence_features
from persona_align.preferences import ALIGNX

FRAMES = Path(__file__).with_suffix(".toml")
FIRST_PERSON = ("friend", "funny")
"""Registers in which the author often speaks of themselves."""
PER_FRAME = 8
PER_LINE = 3
"""A frame is filled, and a line is put into a context, so many times."""


class Bank:
    """Fills frames at random and puts sentences among others, as in a chat."""

    def __init__(self, seed: int, half: int | None = None) -> None:
        """`half` 0 or 1 keeps every second frame only, so that one half can be held out."""
        self.rng = np.random.default_rng(seed)
        self.data = tomllib.loads(FRAMES.read_text(encoding="utf-8"))
        self.half = half

    def frames(self, *kinds: str) -> list[str]:
        """The frames of these kinds, or every second one of them."""
        step = slice(None) if self.half is None else slice(self.half, None, 2)
        return [frame for kind in kinds for frame in self.data[kind][step]]

    def fill(self, frame: str) -> str:
        """A frame with something in each of its slots."""
        for slot, kind in (("{x}", "things"), ("{a}", "activities"), ("{r}", "reasons"), ("{t}", "tasks")):
            while slot in frame:
                frame = frame.replace(slot, str(self.rng.choice(self.data[kind])), 1)
        return frame[0].upper() + frame[1:]

    def sentences(self) -> tuple[list[str], list[str]]:
        """Sentences that say something about their author, and others."""
        anchors = [text for d in ALIGNX for text in (*d.high_statements, *d.low_statements)]
        registers = [text for matter in read_corpus() for name, text in matter.items() if name not in FIRST_PERSON]
        if self.half is not None:
            anchors, registers = anchors[self.half :: 2], registers[self.half :: 2]
        expressive = [self.fill(frame) for frame in self.frames("stated", "mentioned") for _ in range(PER_FRAME)]
        other = [self.fill(frame) for frame in self.frames("asked", "others") for _ in range(PER_FRAME)]
        other += [text for text in self.frames("chat", "work") for _ in range(PER_LINE)]
        other += self.frames("circumstances")
        return anchors + expressive, other + [text for text in registers if text.count(".") < 2]

    def texts(self) -> list[tuple[str, int, float]]:
        """Texts with the position of the sentence that counts, and its label."""
        expressive, other = self.sentences()
        labelled = [(text, 1.0) for text in expressive] + [(text, 0.0) for text in other]
        out = []
        for text, label in labelled:
            before = [str(s) for s in self.rng.choice(other, int(self.rng.integers(0, 3)))]
            after = [str(s) for s in self.rng.choice(other, int(self.rng.integers(0, 2)))]
            out.append((" ".join([*before, text, *after]), text, label))
        return out


def examples(bank: Bank, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Features of the sentences that count, and their labels."""
    texts = bank.texts()
    rows, labels = [], []
    for encoding, (_, sentence, label) in zip(encoder.encode([t for t, _, _ in texts]), texts, strict=True):
        found = _find(encoding, sentence)
        if found is not None:
            rows.append(sentence_features(encoding)[found])
            labels.append(label)
    return np.stack(rows), np.array(labels)


def _find(encoding: Encoding, sentence: str) -> int | None:
    matches = [i for i, read in enumerate(encoding.sentences) if read in sentence or sentence in read]
    return max(matches, key=lambda i: len(encoding.sentences[i])) if matches else None


def train(features: np.ndarray, labels: np.ndarray, *, strength: float = 0.003) -> tuple[np.ndarray, float]:
    """Weights on raw features, and the intercept."""
    mean, scale = features.mean(0), features.std(0) + 1e-6
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
    model.fit((features - mean) / scale, labels)
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - weights @ mean)


def main() -> None:
    """Train on one half of the frames, say how it does on the other, then train on all and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    args = parser.parse_args()
    encoder = open_encoder()
    held_in, held_out = (examples(Bank(args.seed + h, half=h), encoder) for h in (0, 1))
    weights, bias = train(*held_in)
    print("held-out frames: accuracy", ((held_out[0] @ weights + bias > 0) == (held_out[1] > 0.5)).mean().round(4))
    features, labels = np.concatenate([held_in[0], held_out[0]]), np.concatenate([held_in[1], held_out[1]])
    weights, bias = train(features, labels)
    head = Expressiveness(fingerprint=encoder.fingerprint, weights=weights.astype(np.float32), bias=bias)
    args.out.parent.mkdir(exist_ok=True)
    head.save(args.out)


if __name__ == "__main__":
    main()
