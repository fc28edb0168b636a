"""What a model makes of statements, captured once per model: activations, expected answers and their gradients."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering.asking import Asked, Question, expected_agreement, questions
from persona_align.steering.lessons import in_evaluation
from persona_align.steering.offsets import Positions
from persona_align.steering.progress import Progress
from persona_align.steering.prompting import layout_of
from persona_align.steering.questionnaire import QUESTIONNAIRE_VERSION
from persona_align.steering.steered import SteeredModel
from persona_align.steering.tensor_files import write_tensors

__all__ = ["Captured", "at_the_letter", "capture_key", "capture_statements", "kept"]

Singles = NDArray[np.float32]
FORMAT = 1
_ARRAYS = ("agree", "disagree", "gradient", "expected")


@dataclass(frozen=True)
class Captured:
    """What a model makes of each statement, averaged over both orders of the letters.

    Attributes:
        agree: Head outputs at the answer letter, where the answer is full agreement, [heads, items, head_dim].
        disagree: The same where it is full disagreement.
        gradient: d expected agreement / d offset at the chosen positions, [heads, items, head_dim].
        expected: The model's own expected agreement, 1 to 5, [items].
    """

    agree: Singles
    disagree: Singles
    gradient: Singles
    expected: NDArray[np.float64]


def capture_statements(
    steered: SteeredModel,
    tokenizer: Any,
    statements: Sequence[str],
    *,
    positions: Positions = "all",
    cache: str | Path | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> Captured:
    """Ask every statement and record what happens inside the model.

    Args:
        steered: The model.
        tokenizer: Its tokenizer.
        statements: First-person statements.
        positions: Where the offsets that the gradients are for would act.
        cache: A folder in which what is captured is kept, one file per batch: an interrupted capture resumes.
        batch: Statements at a time.
        progress: Called after each batch.

    Raises:
        IncompatibleOffsetsError: The cache holds something else under this name.
    """
    key = capture_key(steered, tokenizer, statements, positions, batch)
    folder = Path(cache) / f"statements-{key}" if cache is not None else None
    parts = []
    for number, start in enumerate(range(0, len(statements), batch)):
        file = folder / f"part-{number:04d}.safetensors" if folder is not None else None
        some = statements[start : start + batch]
        parts.append(kept(file, key, partial(_capture, steered, tokenizer, some, positions)))
        if progress is not None:
            progress("statements", min(start + batch, len(statements)), len(statements))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}
    by_head = {name: np.ascontiguousarray(joined[name].swapaxes(0, 1)) for name in _ARRAYS[:3]}
    return Captured(**by_head, expected=joined["expected"].astype(np.float64))


def _capture(
    steered: SteeredModel, tokenizer: Any, statements: Sequence[str], positions: Positions
) -> dict[str, NDArray[Any]]:
    """One batch: activations and gradients [items, heads, head_dim], expected agreement [items]."""
    orders: list[dict[str, NDArray[Any]]] = []
    for reverse in (False, True):
        asked = questions(tokenizer, statements, reverse=reverse)
        with in_evaluation(steered):
            gradient, expected = _gradients(Asked(steered, asked, positions))
            orders.append(
                {
                    "agree": at_the_letter(steered, asked, 5),
                    "disagree": at_the_letter(steered, asked, 1),
                    "gradient": gradient,
                    "expected": expected,
                }
            )
    return {name: (orders[0][name] + orders[1][name]) / 2 for name in _ARRAYS}


def at_the_letter(steered: SteeredModel, asked: Sequence[Question], agreement: int) -> Singles:
    """Head outputs at the letter of an answer, [items, heads, head_dim]."""
    rows = [(*one.prompt, one.letters[agreement - 1]) for one in asked]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *([0] * (width - len(row)))] for row in rows], device=steered.device)
    with torch.no_grad(), steered.capture() as captured:
        steered.model(input_ids=ids, use_cache=False)
    last = [len(row) - 1 for row in rows]
    picked = [heads[range(len(rows)), last].float().cpu() for heads in captured.heads]
    return torch.cat(picked, dim=1).numpy()  # layers follow each other along the heads


def _gradients(asked: Asked) -> tuple[Singles, NDArray[np.float64]]:
    """The gradient of each question's expected agreement with respect to an offset of its own."""
    steered, count = asked.steered, len(asked.questions)
    offsets = torch.zeros((count, *steered.geometry.shape), device=steered.device, requires_grad=True)
    with torch.enable_grad():
        expected = expected_agreement(asked.logits_each(offsets, range(count)))
        (gradient,) = torch.autograd.grad(expected.sum(), [offsets])
    return gradient.float().cpu().flatten(1, 2).numpy(), expected.detach().double().cpu().numpy()


def capture_key(
    steered: SteeredModel, tokenizer: Any, statements: Sequence[str], positions: Positions, batch: int
) -> str:
    """A name for what a model makes of some statements: another model, template or wording has another name."""
    template = getattr(tokenizer, "chat_template", None)
    asked = [layout_of(tokenizer), template, list(statements), positions, batch]
    parts = [FORMAT, QUESTIONNAIRE_VERSION, steered.fingerprint, *asked]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def kept(file: Path | None, key: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays from a file, or made and written there; no file makes them every time.

    Raises:
        IncompatibleOffsetsError: The file is damaged, or holds what was made under another key.
    """
    if file is None:
        return make()
    if not file.is_file():
        made = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(file, {name: np.ascontiguousarray(array) for name, array in made.items()}, {"key": key})
        return made
    try:
        with safe_open(file, framework="numpy") as opened:
            found = (opened.metadata() or {}).get("key")
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # safetensors raises its own kinds for a damaged file
        raise IncompatibleOffsetsError(f"{file} cannot be read ({error}).", "Delete it: it is made again.") from error
    if found != key:
        raise IncompatibleOffsetsError(
            f"{file} was captured on another model or other statements.", "Give each model a cache folder of its own."
        )
    return arrays
