"""Trains the reader of dimensions: `python -m persona_align.inference.train_dimensions`.

A message is a bag of claims: it says what one of them says, and the loss is that of the message. The networks see the
messages of sentences.py, and the anchor statements and what grammar makes of them (corpus.py). What is held back in
turn tells how sure the result may be. The same seed gives the same weights on the same machine.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, open_encoder
from persona_align.inference.corpus import corpus
from persona_align.inference.dimensions import SHIPPED, DimensionReader, reader_features, said_evidence, side_evidence
from persona_align.inference.features import encoded
from persona_align.inference.head import open_head, statement_key
from persona_align.inference.poles import Match, Poles
from persona_align.inference.sentences import Message, messages
from persona_align.inference.train_sides import Sides, train_sides
from persona_align.inference.units import Unit, claims_of
from persona_align.inference.valence import VALENCE
from persona_align.preferences import ALIGNX

__all__ = ["Bags", "bags", "examples", "train"]

Floats = NDArray[np.float32]
LAYERS = (6, 4, 2)
HIDDEN = 256
_SIDES_MADE = 0.5
SHARPER = 4 / 3
"""What is held back is full of denials and irony, more than people's messages are: sides may be this much surer."""
CLAIMS = 6
"""Of a message, so many claims are read."""
CODE = 24
"""The side of every dimension is read from so many numbers, so that all learn from all what a denial is."""
FOLDS = 5
BATCH = 256
_SUBJECT = {"self": 0, "other": 1, "nothing": 2}
_NATURAL, _BESIDE, _NOTHING, _STATED, _MADE = 1.0, 0.7, 1.5, 1.0, 0.7
"""How often each kind of message is drawn: natural ones, those that say nothing, anchors, and what grammar made."""


class Bags(NamedTuple):
    """Messages as rows of claims.

    Args:
        claims: Shape [claims, all layers, d], half precision.
        words: Shape [claims, features].
        of: Shape [messages, CLAIMS]: the claims of a message; -1 where there are no more.
        says: Shape [messages, dimensions]: 0 nothing, 1 the high pole, 2 the low one.
        learned: Shape [messages, dimensions]: 0 where the message teaches nothing of a dimension.
        subject: Shape [messages]: 0 its author, 1 somebody else, 2 nothing.
        drawn: Shape [messages]: how often it is drawn.
        natural: Shape [messages]: whether it was written as a message.
        fold: Shape [messages]: in which fold it is held back.
    """

    claims: NDArray[np.float16]
    words: Floats
    of: NDArray[np.int64]
    says: NDArray[np.int64]
    learned: Floats
    subject: NDArray[np.int64]
    drawn: Floats
    natural: NDArray[np.bool_]
    fold: NDArray[np.int64]


def examples(seed: int = 0) -> Iterator[tuple[Message, float, bool]]:
    """All messages, each with how often it is drawn and whether it is natural."""
    natural = list(messages())
    for message in natural:
        yield message, _NATURAL if message.says else _NOTHING, True
    yield from ((beside, _BESIDE, False) for beside in _beside(natural, random.Random(seed)))
    for each in corpus(ALIGNX, seed=seed):
        if each.subject == "nothing" or each.dimension in ALIGNX:
            says = {each.dimension: each.pole} if each.pole else {}
            if not each.anchor and statement_key(each.text) % 5 > 1:
                continue  # grammar makes more than is worth encoding
            made = Message(each.text, says, each.subject, (), each.source or each.text)
            yield made, _STATED if each.anchor else _MADE, False


def _beside(natural: Sequence[Message], rng: random.Random) -> Iterator[Message]:
    """Messages with one that says nothing before or behind them, which colours how the encoder reads them."""
    idle = [message.text for message in natural if message.subject == "nothing" and "\n" not in message.text]
    for message in natural:
        if message.says and rng.random() < 0.5:
            pair = rng.sample([message.text, rng.choice(idle)], 2)
            yield message._replace(text=" ".join(text if text[-1] in ".!?" else f"{text}." for text in pair))


def bags(encoder: Encoder, given: Sequence[tuple[Message, float, bool]], cache: Path | None = None) -> Bags:
    """Messages, encoded."""
    read = encoded(encoder, [message.text for message, *_ in given], cache)
    layers: list[NDArray[np.float32]] = []
    texts: list[str] = []
    of = np.full((len(given), CLAIMS), -1)
    says = np.zeros((len(given), len(ALIGNX)), dtype=np.int64)
    learned = np.ones(says.shape, dtype=np.float32)
    for row, (message, *_) in enumerate(given):
        sentences, every = read[message.text]
        units = claims_of(message.text, sentences) or [Unit(message.text, tuple(range(len(sentences))))]
        for column, unit in enumerate(units[:CLAIMS]):
            of[row, column] = len(texts)
            layers.append(every[list(unit.sentences)].astype(np.float32).mean(0))
            texts.append(unit.text)
        for key, pole in message.says.items():
            says[row, ALIGNX.index(key)] = 1 if pole > 0 else 2
        learned[row, [ALIGNX.index(key) for key in message.unsure or ()]] = 0
        learned[row] *= message.unsure is not None
    known = {text: reader_features([text])[0] for text in dict.fromkeys(texts)}
    return Bags(
        claims=np.stack(layers).astype(np.float16),
        words=np.stack([known[text] for text in texts]),
        of=of,
        says=says,
        learned=learned,
        subject=np.array([_SUBJECT[message.subject] for message, *_ in given]),
        drawn=np.array([drawn for _, drawn, _ in given], dtype=np.float32),
        natural=np.array([natural for *_, natural in given]),
        fold=np.array([_fold(message.source) for message, *_ in given]),
    )


def _fold(source: str) -> int:
    return blake2b(source.encode(), digest_size=2).digest()[0] % FOLDS


def train(
    encoder: Encoder,
    data: Bags,
    *,
    seed: int = 0,
    members: int = 2,
    epochs: int = 24,
    held_back: int = 2,
    jobs: int = 1,
    report: Any = print,
) -> DimensionReader:
    """A reader for an encoder.

    Args:
        encoder: The encoder of the bags.
        data: The messages.
        seed: Of the weights and of what is drawn.
        members: Networks that are averaged.
        epochs: How often a message is seen.
        held_back: Folds that are held back in turn, to tell how sure the reader may be.
        jobs: Processes.
        report: Called with what was measured on them.
    """
    near = Poles(open_head(encoder), encoder, ALIGNX)
    x, fixed = _standard(data)
    parts = [(fold, member) for fold in range(held_back) for member in range(max(1, members // 2))]
    parts += [(FOLDS, member) for member in range(members)]
    work = [(x, data, np.flatnonzero(data.fold != fold), 100 * seed + member, epochs) for fold, member in parts]
    if jobs > 1:
        _work[:] = work
        with get_context("fork").Pool(jobs) as pool:
            learned = pool.map(_inherited, range(len(work)), chunksize=1)
    else:
        learned = [_member(*each) for each in work]
    made = dict(zip(parts, learned, strict=True))
    sides = _sides(data)
    spoken, sided, stated, natural = [], [], [], []
    for fold in range(held_back):
        held = [made[part] for part in parts if part[0] == fold]
        towards = train_sides(x, data.words, sides.of(data.fold[sides.message] != fold), len(ALIGNX), seed=seed)
        reader = _reader(encoder, fixed, held, towards)
        out = np.flatnonzero(data.fold == fold)
        spoken.append(message_evidence(reader, near, data, out))
        stated.append(data.says[out] > 0)
        natural.append(data.natural[out])
        sided.append(_held_sides(reader, near, data, sides.of(data.fold[sides.message] == fold)))
    towards = train_sides(x, data.words, sides, len(ALIGNX), seed=seed)
    reader = _reader(encoder, fixed, [made[part] for part in parts if part[0] == FOLDS], towards)
    if held_back:
        evidence, meant = np.concatenate(spoken, 1), np.concatenate(stated)
        reader.weights["said"] = _logistic(evidence.reshape(2, -1).T, meant.ravel(), offset=True)
        rows, right, drawn = (np.concatenate(part) for part in zip(*sided, strict=True))
        reader.weights["side"] = SHARPER * _logistic(rows, right, drawn)
        report("sign", float((((rows @ reader.weights["side"]) > 0) == right)[drawn == 1].mean()))
        probability = 1 / (
            1 + np.exp(-(np.tensordot(reader.weights["said"][:-1], evidence, 1) + reader.weights["said"][-1]))
        )
        for name, which in (("natural", np.concatenate(natural)), ("made", ~np.concatenate(natural))):
            report(name, measured(probability[which], meant[which]))
    return reader


def _sides(data: Bags) -> Sides:
    """What messages of one claim say."""
    known = (data.says > 0) & (data.of[:, 1] < 0)[:, None] & (data.subject < 2)[:, None]
    message, dimension = np.nonzero(known)
    claim = data.of[message, 0]
    towards = np.where(data.says[message, dimension] == 1, 1.0, -1.0) * np.where(data.words[claim, -1] > 0.5, -1, 1)
    drawn = np.where(data.natural[message], 1.0, _SIDES_MADE)
    return Sides(message, claim, dimension, towards.astype(np.float32), drawn.astype(np.float32))


def message_evidence(reader: DimensionReader, near: Poles, data: Bags, rows: NDArray[np.int64]) -> Floats:
    """Shape [2, rows, dimensions]: that messages speak of dimensions, by the claim that does so most clearly."""
    at = data.of[rows]
    found = np.full((2, len(rows), len(ALIGNX)), -15.0, dtype=np.float32)
    for column in range(CLAIMS):
        here = np.flatnonzero(at[:, column] >= 0)
        if len(here):
            claims = at[here, column]
            read = reader.read_words(data.claims[claims], data.words[claims])
            about = read.subject[:, :1]
            match = _near(near, data, claims)
            each = said_evidence(read.said * about, Match(match.value, match.meant * about))
            found[:, here] = np.maximum(found[:, here], each)
    return found


def _near(near: Poles, data: Bags, claims: NDArray[np.int64]) -> Match:
    layers = data.claims[claims].astype(np.float32)
    return near.match(near.head.read_words(layers, data.words[claims, len(VALENCE) :]).points)


def _held_sides(
    reader: DimensionReader, near: Poles, data: Bags, sides: Sides
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """What the two readings say of the sides of claims, which is right, and how often each counts."""
    read = reader.read_words(data.claims[sides.claim], data.words[sides.claim])
    evidence = side_evidence(read.side, _near(near, data, sides.claim))
    rows = evidence[:, np.arange(len(sides.claim)), sides.dimension].T
    return rows, np.asarray(data.says[sides.message, sides.dimension] == 1), sides.drawn


def measured(spoken: Floats, meant: NDArray[np.bool_], floor: float = 0.2) -> dict[str, float]:
    """What held-back messages were read to speak of: of the stated, beside them, and of those that state nothing."""
    said = spoken >= floor
    states = np.asarray(meant.any(1))
    return {
        "found": round(float(said[meant].mean()), 3),
        "beside": round(float((said & ~meant)[states].sum(1).mean()), 3),
        "nothing is silent": round(float(np.asarray(~said.any(1))[~states].mean()), 3),
    }


def _logistic(x: Floats, y: NDArray[np.bool_], counted: Floats | None = None, *, offset: bool = False) -> Floats:
    """Weights that fit best, in half precision."""
    import torch

    if offset:
        x = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)
    inputs, wanted = torch.tensor(x), torch.tensor(y.astype(np.float32))
    weight = None if counted is None else torch.tensor(counted)
    w = torch.zeros(x.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ w, wanted, weight=weight)
        found = each + 1e-5 * (w**2).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return w.detach().numpy().astype(np.float16).astype(np.float32)


_work: list[tuple[Floats, Bags, NDArray[np.int64], int, int]] = []
"""What forked processes find in their memory instead of being sent it."""


def _inherited(number: int) -> dict[str, Floats]:
    return _member(*_work[number])


def _standard(data: Bags) -> tuple[Floats, dict[str, Floats]]:
    """Shape [claims, inputs]: the chosen layers, centred and scaled; and by what."""
    chosen = data.claims[:, list(LAYERS)].astype(np.float32)
    fixed = {
        "layers": np.array(LAYERS, dtype=np.float32),
        "mean": chosen.mean(0).astype(np.float16).astype(np.float32),
        "deviation": chosen.std(0).mean(-1).astype(np.float16).astype(np.float32),
    }
    return ((chosen - fixed["mean"]) / fixed["deviation"][:, None]).reshape(len(chosen), -1), fixed


def _reader(
    encoder: Encoder, fixed: dict[str, Floats], learned: Sequence[dict[str, Floats]], sides: dict[str, Floats]
) -> DimensionReader:
    weights = {name: np.stack([each[name] for each in learned]) for name in learned[0]}
    weights["in"] = np.concatenate(list(weights["in"]), 1)
    weights["in_bias"] = weights["in_bias"].ravel()
    weights = {name: value.astype(np.float16).astype(np.float32) for name, value in {**fixed, **weights}.items()}
    weights |= sides
    digest = statement_key("".join(str(float(np.abs(value).sum())) for value in weights.values()))
    return DimensionReader(fingerprint=f"{encoder.fingerprint}/{digest:016x}", keys=ALIGNX.keys, weights=weights)


def _member(x: Floats, data: Bags, rows: NDArray[np.int64], seed: int, epochs: int) -> dict[str, Floats]:
    """One network."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dimensions = data.says.shape[1]
    first = nn.Linear(x.shape[1] + data.words.shape[1], HIDDEN)
    out, subject = nn.Linear(HIDDEN, dimensions), nn.Linear(HIDDEN, len(_SUBJECT))
    code, side = nn.Linear(HIDDEN, CODE), nn.Linear(CODE, dimensions)
    nn.init.zeros_(out.weight)
    nn.init.constant_(out.bias, -3.0)
    parameters = [each for layer in (first, out, subject, code, side) for each in layer.parameters()]
    share = data.drawn[rows] / data.drawn[rows].sum()
    steps = epochs * int(data.drawn[rows].sum()) // BATCH
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.15)
    inputs, words = torch.from_numpy(x), torch.from_numpy(data.words)
    for _ in range(steps):
        drawn = rng.choice(rows, BATCH, p=share)
        at = data.of[drawn]
        owner = torch.from_numpy(np.nonzero(at >= 0)[0])
        claims = torch.from_numpy(at[at >= 0])
        h = torch.cat([functional.dropout(inputs[claims], 0.4), 2 * words[claims]], 1)
        h = functional.dropout(functional.gelu(first(h), approximate="tanh"), 0.4)
        towards = side(code(h))
        logits = torch.stack([out(h) + towards, out(h) - towards], 1)
        logits = torch.where(words[claims, -1, None, None] > 0.5, logits.flip(1), logits)
        poles = functional.log_softmax(torch.cat([torch.zeros_like(logits[:, :1]), logits], 1), 1)[:, 1:]
        whose = functional.log_softmax(subject(h), 1)
        about, says = torch.from_numpy(data.subject[drawn]), torch.from_numpy(data.says[drawn])
        told = (about[owner] == 1) & (says[owner].sum(1) > 0)  # of somebody else, but what it says is known
        poles = torch.where(told[:, None, None], poles, poles + whose[:, :1, None])
        index = owner[:, None, None].expand_as(poles)
        found = torch.full((BATCH, 2, dimensions), -30.0).scatter_reduce(0, index, poles, "amax").exp()
        found = found.clamp(1e-6, 1 - 1e-6)
        none = (1 - found.sum(1)).clamp_min(1e-6)
        right = torch.where(says == 1, found[:, 0], torch.where(says == 2, found[:, 1], none))
        loss = -(right.log() * torch.from_numpy(data.learned[drawn])).sum(1).mean()
        # Of a message about its author, some claim is; of others, all are of their kind.
        index = owner[:, None].expand_as(whose)
        most = torch.full((BATCH, 3), -30.0).scatter_reduce(0, index, whose, "amax")
        least = torch.zeros(BATCH, 3).scatter_reduce(0, index, whose, "amin")
        loss = loss - 0.5 * torch.where(about == 0, most[:, 0], least.gather(1, about[:, None])[:, 0]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    towards, bias = side.weight @ code.weight, side(code.bias)
    tensors = {"in": first.weight.T, "in_bias": first.bias}
    tensors |= {"out": torch.cat([out.weight + towards, out.weight - towards]).T}
    tensors |= {"out_bias": torch.cat([out.bias + bias, out.bias - bias])}
    tensors |= {"subject": subject.weight.T, "subject_bias": subject.bias}
    return {name: value.detach().numpy().astype(np.float32) for name, value in tensors.items()}


def main() -> None:
    """Train a reader and write it where the library looks for it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--encoder", default=None, help="a sentence-transformers name or path")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, default=None, help="a file that keeps the encodings for the next time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    encoder = open_encoder(given.encoder)
    data = bags(encoder, list(examples(given.seed)), given.cache)
    train(encoder, data, seed=given.seed, members=given.members, epochs=given.epochs, jobs=given.jobs).save(given.out)


if __name__ == "__main__":
    main()
