"""One network of the reader of dimensions, and how it learns.

Heads attend to the tokens of a claim. On what they take from there, and on what can be counted in the words, stand two
small networks: of which dimensions a claim speaks and of whom, and towards which pole. The second is shared by all
dimensions, so that what a denial or a warm word is, is learned from all of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Messages", "learned"]

Floats = NDArray[np.float32]
HEADS, WIDTH = 8, 32
HIDDEN, SIDES_HIDDEN = 256, 128
CODE = 24
"""The side of every dimension is read from so many numbers, so that all learn from all what a denial is."""
BATCH, TWINS = 256, 32
TOKENS = 32
"""Of a longer claim, only so many are learned from."""
RATE, DECAY = 2e-3, 0.1
DROPPED = 0.4
ALIKE = 3.0
"""How much it costs to read twins differently. Much more, and nothing is read any more where there is a cue."""


class Messages(NamedTuple):
    """Messages as rows of claims, and claims as rows of tokens.

    Args:
        tokens: Shape [tokens, inputs], half precision, standardised.
        starts: Shape [claims + 1]: where the tokens of a claim begin.
        words: Shape [claims, features]; last whether a claim is denied from outside.
        of: Shape [messages, most]: the claims of a message; -1 where there are no more.
        says: Shape [messages, dimensions]: 0 nothing, 1 the high pole, 2 the low one.
        learned: Shape [messages, dimensions]: 0 where the message teaches nothing of a dimension.
        subject: Shape [messages]: 0 its author, 1 somebody else, 2 nothing.
        drawn: Shape [messages]: how often it is drawn.
        twin: Shape [messages]: the message that differs only in who its author seems to be; -1 for none.
    """

    tokens: NDArray[np.float16]
    starts: NDArray[np.int64]
    words: Floats
    of: NDArray[np.int64]
    says: NDArray[np.int64]
    learned: Floats
    subject: NDArray[np.int64]
    drawn: Floats
    twin: NDArray[np.int64]


def learned(data: Messages, rows: NDArray[np.int64], seed: int, epochs: int) -> dict[str, Floats]:
    """The tensors of a network that has seen some of the messages, by the names that `DimensionReader` gives them."""
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = _Network(data.tokens.shape[1], data.words.shape[1], data.says.shape[1])
    share = data.drawn[rows].astype(np.float64)
    steps = int(epochs * share.sum()) // BATCH
    share /= share.sum()
    twins = _twins(data, rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    for _ in range(steps):
        loss = _told(model, data, rng.choice(rows, BATCH, p=share))
        if len(twins):
            loss = loss + ALIKE * _apart(model, data, rng.choice(twins, TWINS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return dict(model.export())


def _twins(data: Messages, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of each pair that was split into claims in the same way."""
    first = rows[data.twin[rows] > rows]
    alike = ((data.of[first] >= 0) == (data.of[data.twin[first]] >= 0)).all(1)
    return np.asarray(first[alike])


def _told(model: Any, data: Messages, drawn: NDArray[np.int64]) -> Any:
    """What messages say, against what is read of the claim that says it most clearly."""
    import torch
    from torch.nn import functional

    at = data.of[drawn]
    owner = torch.from_numpy(np.nonzero(at >= 0)[0])
    poles, whose, sides = model(*_claims(data, at[at >= 0]))
    about, says = torch.from_numpy(data.subject[drawn]), torch.from_numpy(data.says[drawn])
    told = (about[owner] == 1) & (says[owner].sum(1) > 0)  # of somebody else, but what it says is known
    poles = torch.where(told[:, None, None], poles, poles + whose[:, :1, None])
    index = owner[:, None, None].expand_as(poles)
    found = torch.full((len(drawn), *poles.shape[1:]), -30.0).scatter_reduce(0, index, poles, "amax").exp()
    found = found.clamp(1e-6, 1 - 1e-6)
    none = (1 - found.sum(1)).clamp_min(1e-6)
    right = torch.where(says == 1, found[:, 0], torch.where(says == 2, found[:, 1], none))
    loss = -(right.log() * torch.from_numpy(data.learned[drawn])).sum(1).mean()
    # Of a message about its author, some claim is; of others, all are of their kind.
    index = owner[:, None].expand_as(whose)
    most = torch.full((len(drawn), 3), -30.0).scatter_reduce(0, index, whose, "amax")
    least = torch.zeros(len(drawn), 3).scatter_reduce(0, index, whose, "amin")
    loss = loss - 0.5 * torch.where(about == 0, most[:, 0], least.gather(1, about[:, None])[:, 0]).mean()
    # Towards which pole, by messages of one claim.
    alone = torch.from_numpy(data.of[drawn][:, 1] < 0)[owner] & (about[owner] < 2)
    towards = ((says == 1).float() - (says == 2).float())[owner] * alone[:, None]
    return loss + (functional.softplus(-sides * towards) * towards.abs()).sum() / towards.abs().sum().clamp_min(1)


def _apart(model: Any, data: Messages, first: NDArray[np.int64]) -> Any:
    """How differently twins are read, in probabilities."""
    at = np.concatenate([data.of[first], data.of[data.twin[first]]])
    poles, whose, _ = model(*_claims(data, at[at >= 0]))
    said = (poles + whose[:, :1, None]).exp()
    half = len(said) // 2
    return ((said[:half] - said[half:]) ** 2).sum((1, 2)).mean()


def _claims(data: Messages, claims: NDArray[np.int64]) -> tuple[Any, Any, Any]:
    """Tokens of shape [claims, most, inputs], which of them there are, and the words."""
    import torch

    counts = np.minimum(data.starts[claims + 1] - data.starts[claims], TOKENS)
    place = np.arange(counts.max())
    there = place < counts[:, None]
    at = np.minimum(data.starts[claims][:, None] + place, len(data.tokens) - 1)
    tokens = torch.from_numpy(data.tokens[at.ravel()].astype(np.float32)).view(*at.shape, -1)
    return tokens, torch.from_numpy(there), torch.from_numpy(data.words[claims])


def _Network(inputs: int, words: int, dimensions: int) -> Any:  # noqa: N802 - builds a class whose base is imported late
    import torch
    from torch import nn
    from torch.nn import functional

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Parameter(0.02 * torch.randn(inputs, HEADS))
            self.value = nn.Parameter(torch.randn(HEADS, inputs, WIDTH) / inputs**0.5)
            features = HEADS * WIDTH + words
            self.first, self.out = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, dimensions)
            self.subject = nn.Linear(HIDDEN, 3)
            self.code, self.towards = nn.Linear(HIDDEN, CODE), nn.Linear(CODE, dimensions)
            self.side_first, self.side_shared = nn.Linear(features, SIDES_HIDDEN), nn.Linear(SIDES_HIDDEN, 1)
            self.side_own = nn.Linear(SIDES_HIDDEN, dimensions)
            for each in (self.out.weight, self.side_own.weight, self.side_own.bias):
                nn.init.zeros_(each)
            nn.init.constant_(self.out.bias, -3.0)
            self.drop = nn.Dropout(DROPPED)

        def forward(self, tokens: Any, there: Any, words: Any) -> tuple[Any, Any, Any]:
            """Log probabilities of the poles [claims, 2, dimensions] and of whom it is about; log odds of the sides."""
            attention = (tokens @ self.score).masked_fill(~there[..., None], -1e9).softmax(1)
            kept = self.drop(torch.ones_like(tokens[:, :1]))  # of a claim, all heads miss the same inputs
            pooled = torch.bmm(attention.transpose(1, 2), tokens) * kept
            taken = torch.bmm(pooled.transpose(0, 1), self.value).transpose(0, 1).flatten(1)
            features = torch.cat([taken, 2 * words], 1)
            h = self.drop(functional.gelu(self.first(features), approximate="tanh"))
            towards = self.towards(self.code(h))
            logits = torch.stack([self.out(h) + towards, self.out(h) - towards], 1)
            denied = words[:, -1] > 0.5
            logits = torch.where(denied[:, None, None], logits.flip(1), logits)
            poles = functional.log_softmax(torch.cat([torch.zeros_like(logits[:, :1]), logits], 1), 1)[:, 1:]
            g = self.drop(functional.gelu(self.side_first(features), approximate="tanh"))
            sides = self.side_shared(g) + self.side_own(g)
            sides = torch.where(denied[:, None], -sides, sides)
            return poles, functional.log_softmax(self.subject(h), 1), sides

        def export(self) -> dict[str, Floats]:
            towards, bias = self.towards.weight @ self.code.weight, self.towards(self.code.bias)
            found = {
                "score": self.score,
                "value": self.value,
                "in": self.first.weight.T,
                "in_bias": self.first.bias,
                "out": torch.cat([self.out.weight + towards, self.out.weight - towards]).T,
                "out_bias": torch.cat([self.out.bias + bias, self.out.bias - bias]),
                "subject": self.subject.weight.T,
                "subject_bias": self.subject.bias,
                "side_in": self.side_first.weight.T,
                "side_in_bias": self.side_first.bias,
                "side_out": (self.side_shared.weight + self.side_own.weight).T,
                "side_out_bias": self.side_shared.bias + self.side_own.bias,
            }
            return {name: value.detach().numpy().astype(np.float32) for name, value in found.items()}

    return Network()
