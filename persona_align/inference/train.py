"""Trains the evidence head of an encoder from the corpus: `python -m persona_align.inference.train`.

Episodes: of some dimensions, a few statements of each pole stand for it; other sentences must be nearest to their own
pole, and those that say nothing of their author to none. So the head learns to compare claims, and serves dimensions
that it has never seen. The same seed gives the same weights on the same machine.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, open_encoder
from persona_align.inference.corpus import Example, corpus
from persona_align.inference.head import SHIPPED, TrainedHead, claim_features, statement_key
from persona_align.inference.poles import Poles
from persona_align.preferences import ALIGNX, PreferenceSpace

__all__ = ["Featured", "featurise", "train"]

Floats = NDArray[np.float32]
_LAYERS = (6, 4, 2)
_HIDDEN, _SIGNED, _TOPIC, _GATES = 192, 96, 96, 4
_EXCLUDED = -30.0
"""Added to the score of a pole that is no rival."""
_SUBJECT = {"self": 0, "other": 1, "nothing": 2}


class Featured(NamedTuple):
    """Encoded examples.

    Args:
        examples: The examples.
        of: Shape [n]: which example a row encodes; some are encoded twice, alone and among others.
        alone: Shape [n]: whether a row is the sentence alone.
        layers: Shape [n, all layers, d], half precision.
    """

    examples: list[Example]
    of: NDArray[np.int64]
    alone: NDArray[np.bool_]
    layers: NDArray[np.float16]


def featurise(encoder: Encoder, examples: Sequence[Example], *, seed: int = 0) -> Featured:
    """Encode every example alone, and four in ten also beside others in one message, as people write them."""
    rng = random.Random(seed)
    groups = [[i] for i in range(len(examples))]
    order = rng.sample(range(len(examples)), len(examples) * 4 // 10)
    while order:
        size = rng.choice([2, 3])
        groups.append(order[:size])
        order = order[size:]
    of, alone, layers = [], [], []
    for first in range(0, len(groups), 512):
        chunk = groups[first : first + 512]
        texts = [" ".join(_stopped(examples[i].text) for i in g) if len(g) > 1 else examples[g[0]].text for g in chunk]
        for group, encoding in zip(chunk, encoder.encode(texts), strict=True):
            if len(group) == 1:
                rows = encoding.sentence_layers.mean(0, keepdims=True)
            elif len(encoding.sentences) == len(group):
                rows = encoding.sentence_layers
            else:
                continue
            layers.extend(rows.astype(np.float16))
            of.extend(group)
            alone.extend([len(group) == 1] * len(group))
    return Featured(list(examples), np.array(of), np.array(alone), np.stack(layers))


def train(
    encoder: Encoder,
    featured: Featured,
    space: PreferenceSpace = ALIGNX,
    *,
    seed: int = 0,
    steps: int = 400,
    batch: int = 48,
    hold_out: frozenset[str] = frozenset(),
    report: Any = None,
) -> TrainedHead:
    """A head for an encoder.

    Args:
        encoder: The encoder of `featured`.
        featured: The encoded examples.
        space: Its statements, and those of the corpus for its dimensions, ship with the head.
        seed: Of the weights and the episodes.
        steps: Episodes.
        batch: Dimensions in an episode.
        hold_out: Statements of which neither they nor what was made from them is learned.
        report: Called with (step, loss).
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    fixed = _fixed(featured)
    words = torch.tensor(claim_features([e.text for e in featured.examples]))[featured.of]
    x = torch.tensor(_standard(featured.layers, fixed))
    topic = torch.tensor(_topic(featured.layers, fixed))
    model = _Model(x.shape[1], words.shape[1], featured.layers.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps)
    episodes = _Episodes(featured, seed, batch, hold_out)
    subjects = torch.tensor([_SUBJECT[featured.examples[i].subject] for i in featured.of])
    for step in range(steps):
        anchors, poles, queries, wanted, idle = episodes.draw()
        rows = torch.tensor(anchors + queries + idle)
        points, subject = model(x[rows], words[rows], topic[rows])
        count = 2 * episodes.drawn
        logits = model.match(points[len(anchors) :], points[: len(anchors)], torch.tensor(poles), count)
        logits = logits + torch.tensor(episodes.rivals(space))[torch.tensor(wanted + [count] * len(idle))]
        logits = torch.cat([logits, model.none.expand(len(logits), 1)], 1)
        target = torch.tensor(wanted + [count] * len(idle))
        own = torch.arange(len(wanted))
        against = logits[own, target[own] ^ 1] - logits[own, target[own]]
        loss = (
            functional.cross_entropy(logits, target, label_smoothing=0.05)
            + 0.7 * functional.softplus(against).mean()
            + 0.5 * functional.cross_entropy(subject, subjects[rows], weight=torch.tensor([1.0, 1.5, 3.0]))
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if report:
            report(step, float(loss))
    return _finished(model, fixed, encoder, featured, space)


def _finished(
    model: Any, fixed: dict[str, Floats], encoder: Encoder, featured: Featured, space: PreferenceSpace
) -> TrainedHead:
    """The head as it will be read from disk, with the points of the shipped statements."""
    weights = {**fixed, **model.export()}
    weights = {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}
    digest = statement_key("".join(str(float(np.abs(value).sum())) for value in weights.values()))
    head = TrainedHead(fingerprint=f"{encoder.fingerprint}/{digest:016x}", weights=weights, table={})
    rows = {featured.examples[i].text: row for row, i in enumerate(featured.of) if featured.alone[row]}
    wanted = {e.text for e in featured.examples if e.anchor and e.dimension in space}
    texts = [text for text in rows if text in wanted]
    points = head.read(featured.layers[[rows[text] for text in texts]].astype(np.float32), texts).points
    table = {
        statement_key(text): point.astype(np.float16).astype(np.float32)
        for text, point in zip(texts, points, strict=True)
    }
    weights["relevance"] = np.zeros(6, dtype=np.float32)
    head = TrainedHead(fingerprint=head.fingerprint, weights=weights, table=table)
    weights["relevance"] = _relevance(Poles(head, encoder, space), space)
    return head


def _relevance(poles: Poles, space: PreferenceSpace) -> Floats:
    """Logistic weights that tell the dimension of a statement from others, each statement against the rest."""
    import torch

    rows = np.flatnonzero(poles.dimension_of < len(space))
    features, _ = poles.compare(poles.points[rows], own=rows)
    of = poles.dimension_of[rows]
    weight = np.array([[_counts(a, b, space) for b in range(len(space))] for a in range(len(space))], dtype=np.float32)[
        of
    ]
    x = torch.tensor(features.reshape(-1, features.shape[-1]))
    y = torch.tensor((of[:, None] == np.arange(len(space))).ravel().astype(np.float32))
    counted = torch.tensor(weight.ravel())
    w = torch.zeros(x.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(x @ w[:-1] + w[-1], y, reduction="none")
        found = (each * counted).sum() / counted.sum() + 1e-5 * (w**2).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return w.detach().numpy().astype(np.float16).astype(np.float32)


def _counts(a: int, b: int, space: PreferenceSpace) -> float:
    """Whether a statement of dimension a is an example of not meaning dimension b."""
    first, second = space.dimensions[a], space.dimensions[b]
    if first.sensitive or second.sensitive or not second.high_statements:
        return 0.0
    if a != b and first.family != second.family and frozenset((first.family, second.family)) in _TOGETHER:
        return 0.0
    return 1.0


def _fixed(featured: Featured) -> dict[str, Floats]:
    """Means, deviations and the principal axes of content, over the corpus."""
    layers = featured.layers[:: max(1, len(featured.layers) // 20000)].astype(np.float32)
    content = layers[:, -1]
    centre = content.mean(0)
    axes = np.linalg.eigh((content - centre).T @ (content - centre))[1][:, ::-1][:, :_TOPIC]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    chosen = layers[:, list(_LAYERS)]
    return {
        "layers": np.array(_LAYERS, dtype=np.float32),
        "mean": chosen.mean(0),
        "deviation": chosen.std(0).mean(-1),
        "centre": centre,
        "project": axes.astype(np.float32),
    }


def _standard(layers: NDArray[np.float16], fixed: dict[str, Floats]) -> Floats:
    chosen = layers[:, list(_LAYERS)].astype(np.float32)
    return np.asarray(((chosen - fixed["mean"]) / fixed["deviation"][:, None]).reshape(len(layers), -1))


def _topic(layers: NDArray[np.float16], fixed: dict[str, Floats]) -> Floats:
    topic = (layers[:, -1].astype(np.float32) - fixed["centre"]) @ fixed["project"]
    return np.asarray(topic / np.maximum(np.linalg.norm(topic, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _Model(inputs: int, words: int, width: int) -> Any:  # noqa: N802 - builds a class whose base is imported late
    import torch
    from torch import nn
    from torch.nn import functional

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(inputs + words, _HIDDEN)
            self.gate = nn.Linear(_HIDDEN, _GATES)
            self.mix = nn.Parameter(
                torch.randn(_GATES, width, _SIGNED) / width**0.5 * torch.tensor([1.0, 0.3, 0.3, 0.3])[:, None, None]
            )
            self.out = nn.Linear(_HIDDEN, _SIGNED)
            self.subject = nn.Linear(_HIDDEN, len(_SUBJECT))
            self.sharpness = nn.Parameter(torch.tensor([2.3, 2.0]))
            self.beta = nn.Parameter(torch.tensor(0.0))
            self.none = nn.Parameter(torch.tensor(3.0))
            self.drop = nn.Dropout(0.4)

        def forward(self, x: Any, words: Any, topic: Any) -> Any:
            h = functional.gelu(self.first(torch.cat([self.drop(x), 2 * words], -1)), approximate="tanh")
            h = self.drop(h)
            signed = torch.einsum("nk,nd,kdz->nz", torch.tanh(self.gate(h)), x[:, :width], self.mix) + 0.5 * self.out(h)
            scale = (0.5 * self.sharpness).exp()
            signed = functional.normalize(signed, dim=-1) * (1 - 2 * words[:, -1:]) * scale[0]
            return torch.cat([topic * scale[1], signed], -1), self.subject(h)

        def match(self, queries: Any, anchors: Any, poles: Any, count: int) -> Any:
            scaled = self.beta.exp() * (queries @ anchors.T)
            member = torch.zeros(len(poles), count)
            member[torch.arange(len(poles)), poles] = 1
            top = scaled.max(1, keepdim=True).values
            return (((scaled - top).exp() @ member / member.sum(0) + 1e-9).log() + top) / self.beta.exp()

        def export(self) -> dict[str, Floats]:
            linear = {"in": self.first, "gate": self.gate, "out": self.out, "subject": self.subject}
            found = {name: layer.weight.T for name, layer in linear.items()}
            found |= {f"{name}_bias": layer.bias for name, layer in linear.items()}
            found |= {"mix": self.mix, "sharpness": (0.5 * self.sharpness).exp()}
            found |= {"beta": self.beta.exp()[None], "none": self.none[None]}
            return {name: value.detach().numpy().astype(np.float32) for name, value in found.items()}

    return Model()


class _Episodes:
    """Draws episodes: half of the space's dimensions, half of the corpus's own."""

    def __init__(self, featured: Featured, seed: int, batch: int, hold_out: frozenset[str]) -> None:
        self._rng = random.Random(seed)
        self._rows: dict[str, dict[int, tuple[list[int], list[int]]]] = {}
        self._idle: list[int] = []
        for row, (number, alone) in enumerate(zip(featured.of, featured.alone, strict=True)):
            example = featured.examples[number]
            if example.source in hold_out and example.source:
                continue
            if example.subject == "nothing":
                self._idle.append(row)
            else:
                poles = self._rows.setdefault(example.dimension, {1: ([], []), -1: ([], [])})
                poles[example.pole][0 if example.anchor and alone else 1].append(row)
        names = sorted(self._rows)
        self._own = [name for name in names if "/" not in name]
        self._other = [name for name in names if "/" in name]
        self._batch = batch
        self.drawn = 0
        self._names: list[str] = []

    def rivals(self, space: PreferenceSpace) -> Floats:
        """Shape [poles + 1, poles]: 0 where two drawn poles exclude each other, low where a claim may mean both."""
        kinds = [_kind(name, space) for name in self._names]
        both = np.array([[frozenset((a, b)) in _TOGETHER and a != b for b in kinds] for a in kinds])
        grid = np.where(np.repeat(np.repeat(both, 2, 0), 2, 1), _EXCLUDED, 0.0)
        return np.concatenate([grid, np.zeros((1, grid.shape[1]))]).astype(np.float32)

    def draw(self) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        """Rows that stand for poles, their poles, rows to be read, their poles, rows that say nothing."""
        rng = self._rng
        names = rng.sample(self._own, min(self._batch * 3 // 5, len(self._own)))
        names += rng.sample(self._other, min(self._batch - len(names), len(self._other)))
        self.drawn = len(names)
        self._names = names
        anchors: list[int] = []
        poles: list[int] = []
        queries: list[int] = []
        wanted: list[int] = []
        for number, name in enumerate(names):
            for pole, (stand, rest) in self._rows[name].items():
                label = 2 * number + (pole < 0)
                shuffled = rng.sample(stand, len(stand))
                cut = min(rng.choice([2, 3, 5, 8, 12, 20, 40]), max(1, len(shuffled) - 2))
                anchors += shuffled[:cut]
                poles += [label] * cut
                read = shuffled[cut : cut + 4] + rng.sample(rest, min(4, len(rest)))
                queries += read
                wanted += [label] * len(read)
        return anchors, poles, queries, wanted, rng.sample(self._idle, min(64, len(self._idle)))


_TOGETHER = frozenset(
    frozenset(pair)
    for pair in (
        ("dispositional", "psychological_needs"),
        ("dispositional", "life_style"),
        ("psychological_needs", "life_style"),
        ("dispositional", "trait"),
        ("psychological_needs", "trait"),
        ("life_style", "trait"),
        ("interests", "thing"),
        ("response_quality", "style"),
        ("life_style", "style"),
        ("trait", "thing"),
    )
)
"""Families of which one claim may mean a dimension each, so that neither is wrong where the other is right."""


def _kind(name: str, space: PreferenceSpace) -> str:
    if name in space:
        return space[name].family
    return {"traits": "trait", "habits": "trait"}.get(name.split("/")[0], name.split("/")[0])


def _stopped(text: str) -> str:
    return text if text[-1] in ".!?" else f"{text}."


def main() -> None:
    """Train a head and write it where the library looks for it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--encoder", default=None, help="a sentence-transformers name or path; the bundled one by default"
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    encoder = open_encoder(given.encoder)
    featured = featurise(encoder, corpus(ALIGNX, seed=given.seed), seed=given.seed)
    train(encoder, featured, seed=given.seed, steps=given.steps).save(given.out)


if __name__ == "__main__":
    main()
