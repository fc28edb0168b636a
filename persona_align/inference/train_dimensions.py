"""Trains the reader of dimensions: `python -m persona_align.inference.train_dimensions`.

A message is a bag of claims: it says what one of them says, and the loss is that of the message. The networks see the
messages of sentences.py, and the anchor statements and what grammar makes of them (corpus.py). What is held back in
turn tells how sure the result may be. The same seed gives the same weights on the same machine.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persona_align.encoder import Encoder, open_encoder
from persona_align.inference.corpus import corpus
from persona_align.inference.cues import twin_cues
from persona_align.inference.dimensions import (
    SHIPPED,
    DimensionReader,
    Readings,
    reader_features,
    said_evidence,
    side_evidence,
)
from persona_align.inference.features import encoded
from persona_align.inference.head import open_head, statement_key
from persona_align.inference.network import Messages, learned
from persona_align.inference.poles import Match, Poles
from persona_align.inference.sentences import Message, messages
from persona_align.inference.units import Unit, claims_of
from persona_align.inference.valence import VALENCE
from persona_align.preferences import ALIGNX

__all__ = ["Bags", "bags", "examples", "train"]

Floats = NDArray[np.float32]
_SIDES_MADE = 0.5
SHARPER = 4 / 3
"""What is held back is full of denials and irony, more than people's messages are: sides may be this much surer."""
CLAIMS = 6
"""Of a message, so many claims are read."""
FOLDS = 5
MEMBERS, EPOCHS = 1, 12
_SUBJECT = {"self": 0, "other": 1, "nothing": 2}
_INTRODUCED, _CUED = 0.6, 0.35
"""Of so many natural messages there are twins with a cue of who wrote them, each drawn this much as often."""
_NATURAL, _BESIDE, _NOTHING, _STATED, _MADE = 1.0, 0.7, 1.5, 1.0, 0.7
"""How often each kind of message is drawn: natural ones, those that say nothing, anchors, and what grammar made."""


class Bags(NamedTuple):
    """Encoded messages.

    Args:
        messages: What a network learns from.
        layers: Shape [claims, all layers, d], half precision: every layer of the encoder, pooled over each claim.
        mean: Shape [token layers, d]: of the tokens.
        deviation: Shape [token layers]: of the tokens.
        natural: Shape [messages]: whether it was written as a message.
        fold: Shape [messages]: in which fold it is held back.
    """

    messages: Messages
    layers: NDArray[np.float16]
    mean: Floats
    deviation: Floats
    natural: NDArray[np.bool_]
    fold: NDArray[np.int64]


class Example(NamedTuple):
    """A message, how often it is drawn, whether it is natural, and whether it is the twin of the one before it."""

    message: Message
    drawn: float
    natural: bool
    twin: bool = False


def examples(seed: int = 0) -> Iterator[Example]:
    """All messages."""
    natural = list(messages())
    for message in natural:
        yield Example(message, _NATURAL if message.says else _NOTHING, True)
    yield from (Example(beside, _BESIDE, False) for beside in _beside(natural, random.Random(seed)))
    yield from _introduced(natural, random.Random(seed))
    for each in corpus(ALIGNX, seed=seed):
        if each.subject == "nothing" or each.dimension in ALIGNX:
            says = {each.dimension: each.pole} if each.pole else {}
            if not each.anchor and statement_key(each.text) % 5 > 1:
                continue  # grammar makes more than is worth encoding
            made = Message(each.text, says, each.subject, (), each.source or each.text)
            yield Example(made, _STATED if each.anchor else _MADE, False)


def _beside(natural: Sequence[Message], rng: random.Random) -> Iterator[Message]:
    """Messages with one that says nothing before or behind them, which colours how the encoder reads them."""
    idle = [message.text for message in natural if message.subject == "nothing" and "\n" not in message.text]
    for message in natural:
        if message.says and rng.random() < 0.5:
            pair = rng.sample([message.text, rng.choice(idle)], 2)
            yield message._replace(text=" ".join(map(_stopped, pair)))


def _introduced(natural: Sequence[Message], rng: random.Random) -> Iterator[Example]:
    """Messages with a cue of who their author is, in twins; and such cues alone, which say nothing."""
    for message in natural:
        if "\n" in message.text or rng.random() > _INTRODUCED:
            continue
        unsure = None if message.unsure is None else (*message.unsure, "age_group", "gender")
        first, drawn = rng.random() < 0.7, _CUED * (_NATURAL if message.says else _NOTHING)
        for number, cue in enumerate(twin_cues(rng)):
            text = f"{cue} {message.text}" if first else f"{_stopped(message.text)} {cue}"
            yield Example(message._replace(text=text, unsure=unsure), drawn, False, number == 1)
    for _ in range(len(natural) // 20):
        for number, cue in enumerate(twin_cues(rng)):
            alone = Message(cue, {}, "nothing", ("age_group", "gender"), cue)
            yield Example(alone, _NOTHING * _CUED, False, number == 1)


def _stopped(text: str) -> str:
    return text if text[-1] in ".!?" else f"{text}."


def bags(encoder: Encoder, given: Sequence[Example], cache: Path | None = None) -> Bags:
    """Messages, encoded."""
    read = encoded(encoder, [each.message.text for each in given], cache)
    layers: list[NDArray[np.float16]] = []
    tokens: list[NDArray[np.float16]] = []
    texts: list[str] = []
    of = np.full((len(given), CLAIMS), -1)
    says = np.zeros((len(given), len(ALIGNX)), dtype=np.int64)
    learned = np.ones(says.shape, dtype=np.float32)
    twin = np.full(len(given), -1)
    for row, (message, _, _, is_twin) in enumerate(given):
        sentences, every, inside = read[message.text]
        units = claims_of(message.text, sentences) or [Unit(message.text, tuple(range(len(sentences))))]
        for column, unit in enumerate(units[:CLAIMS]):
            of[row, column] = len(texts)
            layers.append(every[list(unit.sentences)].astype(np.float32).mean(0).astype(np.float16))
            tokens.append(np.concatenate([inside[i] for i in unit.sentences]))
            texts.append(unit.text)
        for key, pole in message.says.items():
            says[row, ALIGNX.index(key)] = 1 if pole > 0 else 2
        learned[row, [ALIGNX.index(key) for key in message.unsure or ()]] = 0
        learned[row] *= message.unsure is not None
        if is_twin:
            twin[row - 1 : row + 1] = row, row - 1
    known = {text: reader_features([text])[0] for text in dict.fromkeys(texts)}
    standard, mean, deviation = _standard(np.concatenate(tokens))
    return Bags(
        messages=Messages(
            tokens=standard,
            starts=np.concatenate([[0], np.cumsum([len(each) for each in tokens])]),
            words=np.stack([known[text] for text in texts]),
            of=of,
            says=says,
            learned=learned,
            subject=np.array([_SUBJECT[each.message.subject] for each in given]),
            drawn=np.array([each.drawn for each in given], dtype=np.float32),
            twin=twin,
        ),
        layers=np.stack(layers),
        mean=mean,
        deviation=deviation,
        natural=np.array([each.natural for each in given]),
        fold=np.array([_fold(each.message.source) for each in given]),
    )


def _standard(tokens: NDArray[np.float16]) -> tuple[NDArray[np.float16], Floats, Floats]:
    """Shape [tokens, inputs]: centred and scaled; and by what."""
    some = tokens[:: max(1, len(tokens) // 50_000)].astype(np.float32)
    mean = some.mean(0).astype(np.float16).astype(np.float32)
    deviation = some.std(0).mean(-1).astype(np.float16).astype(np.float32)
    standard = np.empty((len(tokens), mean.size), dtype=np.float16)
    for first in range(0, len(tokens), 10_000):
        part = (tokens[first : first + 10_000].astype(np.float32) - mean) / deviation[:, None]
        standard[first : first + 10_000] = part.reshape(len(part), -1)
    return standard, mean, deviation


def _fold(source: str) -> int:
    return blake2b(source.encode(), digest_size=2).digest()[0] % FOLDS


def train(
    encoder: Encoder,
    data: Bags,
    *,
    seed: int = 0,
    members: int = MEMBERS,
    epochs: int = EPOCHS,
    held_back: int = 1,
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
        report: Called with what was measured on them.
    """
    near = Poles(open_head(encoder), encoder, ALIGNX)
    made = {
        fold: [
            learned(data.messages, np.flatnonzero(data.fold != fold), 100 * seed + member, epochs)
            for member in range(members)
        ]
        for fold in (*range(held_back), FOLDS)
    }
    spoken, sided, stated, natural = [], [], [], []
    for fold in range(held_back):
        reader = _reader(encoder, data, made[fold])
        out = np.flatnonzero(data.fold == fold)
        spoken.append(_spoken(reader, near, data, out))
        sided.append(_sided(reader, near, data, out))
        stated.append(data.messages.says[out] > 0)
        natural.append(data.natural[out])
    reader = _reader(encoder, data, made[FOLDS])
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


def _spoken(reader: DimensionReader, near: Poles, data: Bags, rows: NDArray[np.int64]) -> Floats:
    """Shape [2, rows, dimensions]: that messages speak of dimensions, by the claim that does so most clearly."""
    at = data.messages.of[rows]
    found = np.full((2, len(rows), len(ALIGNX)), -15.0, dtype=np.float32)
    for column in range(CLAIMS):
        here = np.flatnonzero(at[:, column] >= 0)
        if len(here):
            read, match = _claims(reader, near, data, at[here, column])
            about = read.subject[:, :1]
            each = said_evidence(read.said * about, Match(match.value, match.meant * about))
            found[:, here] = np.maximum(found[:, here], each)
    return found


def _sided(
    reader: DimensionReader, near: Poles, data: Bags, rows: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """What the two readings say of the sides of messages of one claim, which is right, and how often each counts."""
    messages = data.messages
    one = rows[(messages.of[rows, 1] < 0) & (messages.subject[rows] < 2)]
    message, dimension = np.nonzero(messages.says[one] > 0)
    message = one[message]
    read, match = _claims(reader, near, data, messages.of[message, 0])
    evidence = side_evidence(read.side, match)[:, np.arange(len(message)), dimension].T
    drawn = np.where(data.natural[message], 1.0, _SIDES_MADE).astype(np.float32)
    return evidence, np.asarray(messages.says[message, dimension] == 1), drawn


def _claims(reader: DimensionReader, near: Poles, data: Bags, claims: NDArray[np.int64]) -> tuple[Readings, Match]:
    """What claims say, by the networks and by the statements that they are near to."""
    words = data.messages.words[claims]
    starts = data.messages.starts
    tokens = [
        data.messages.tokens[starts[i] : starts[i + 1]].reshape(-1, *data.mean.shape).astype(np.float32)
        * data.deviation[:, None]
        + data.mean
        for i in claims
    ]
    points = near.head.read_words(data.layers[claims].astype(np.float32), words[:, len(VALENCE) :]).points
    return reader.read_words(tokens, words), near.match(points)


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


def _reader(encoder: Encoder, data: Bags, members: Sequence[dict[str, Floats]]) -> DimensionReader:
    weights = {name: np.stack([each[name] for each in members]) for name in members[0]}
    weights["score"] = np.concatenate(list(weights["score"]), 1)
    weights["value"] = np.concatenate(list(weights["value"]))
    weights |= {"mean": data.mean, "deviation": data.deviation}
    weights = {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}
    digest = statement_key("".join(str(float(np.abs(value).sum())) for value in weights.values()))
    return DimensionReader(fingerprint=f"{encoder.fingerprint}/{digest:016x}", keys=ALIGNX.keys, weights=weights)


def main() -> None:
    """Train a reader and write it where the library looks for it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--encoder", default=None, help="a sentence-transformers name or path")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, default=None, help="a file that keeps the encodings for the next time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    encoder = open_encoder(given.encoder)
    data = bags(encoder, list(examples(given.seed)), given.cache)
    train(encoder, data, seed=given.seed, members=given.members, epochs=given.epochs).save(given.out)


if __name__ == "__main__":
    main()
