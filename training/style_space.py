"""Fits the style space that ships for the default encoder, on registers_*.txt: the same matter in eight registers.

What a register adds to every matter is signal; what it adds to one matter only is noise. The leading directions are
those of the register means, in standardised features (whitening by the full noise covariance destroys them); the rest
are the main directions of the noise, with a small signal for tastes that no register of ours stands for.
Run: `python training/style_space.py` writes persona_align/inference/data/style_space.safetensors.
"""

import argparse
from pathlib import Path

import numpy as np

from persona_align.encoder import Encoder, open_encoder
from persona_align.inference.style_space import SHIPPED, StyleSpace, style_features

REGISTERS = ("plain", "child", "expert", "friend", "funny", "curt", "formal", "long")
DIRECTIONS = 64
UNFORESEEN = 0.2
"""Signal in every direction, in multiples of the mean noise of a feature."""


def read_corpus(folder: Path = Path(__file__).parent) -> list[dict[str, str]]:
    """For each matter, its text in each register."""
    matters = []
    for path in sorted(folder.glob("registers_*.txt")):
        for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
            lines = [line.split(":", 1) for line in block.splitlines()[1:]]
            texts = {register: text.strip().replace("\\n", "\n") for register, text in lines}
            if tuple(texts) != REGISTERS:
                raise SystemExit(f"{path}: a block needs {REGISTERS}, not {tuple(texts)}")
            matters.append(texts)
    return matters


def corpus_features(encoder: Encoder, matters: list[dict[str, str]]) -> np.ndarray:
    """Shape [matters, registers, features]."""
    encodings = encoder.encode([matter[register] for matter in matters for register in REGISTERS])
    features = np.stack([style_features(encoding) for encoding in encodings])
    return features.reshape(len(matters), len(REGISTERS), -1).astype(np.float64)


def fit(features: np.ndarray, fingerprint: str, *, unforeseen: float = UNFORESEEN) -> StyleSpace:
    """The style space of a corpus of shape [matters, registers, features]."""
    c, r, f = features.shape
    centred = features - features.mean(1, keepdims=True)
    scale = centred.reshape(-1, f).std(0) + 1e-6
    centred /= scale
    means = centred.mean(0)
    rest = (centred - means).reshape(-1, f)
    dof = (c - 1) * (r - 1)
    mean_noise = (rest**2).sum() / dof / f
    _, strengths, leading = np.linalg.svd(means, full_matrices=False)
    leading = leading[: r - 1]
    signal = np.maximum(strengths[: r - 1] ** 2 / (r - 1) - ((rest @ leading.T) ** 2).sum(0) / dof / c, 0.0)
    remaining = rest - rest @ leading.T @ leading
    others = np.linalg.svd(remaining, full_matrices=False)[2][: DIRECTIONS - len(leading)]
    directions = np.vstack([leading, others])
    noise = ((rest @ directions.T) ** 2).sum(0) / dof
    signal = np.concatenate([signal, np.zeros(len(others))]) + unforeseen * mean_noise
    basis = directions / np.sqrt(2.0 * noise)[:, None] / scale  # a difference of two texts has twice the noise
    # a shift between two registers has twice their variance, as its noise has: the ratio is the same
    return StyleSpace(
        fingerprint=fingerprint, basis=basis.astype(np.float32), signal=(signal / noise).astype(np.float32)
    )


def main() -> None:
    """Fit and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    args = parser.parse_args()
    encoder = open_encoder()
    space = fit(corpus_features(encoder, read_corpus()), encoder.fingerprint)
    args.out.parent.mkdir(exist_ok=True)
    space.save(args.out)
    print("signal of the leading directions:", space.signal[:8].round(2), "version", space.version)


if __name__ == "__main__":
    main()
