"""SteeredModel: the one owner of a model's hooks."""

import inspect
import itertools
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from persona_align.errors import IncompatibleOffsetsError, UnsupportedModelError
from persona_align.steering.binding import Binding, ProjectionHook, StackHook
from persona_align.steering.capture import Captured, Injection
from persona_align.steering.contributions import Contributions
from persona_align.steering.fingerprint import model_fingerprint
from persona_align.steering.offsets import ActivationOffsets, Geometry
from persona_align.steering.projections import find_projections
from persona_align.steering.rows import RowPlan

__all__ = ["SteeredModel", "model_fingerprint"]

_KEYS = itertools.count(1)
_BY_MODEL: "weakref.WeakValueDictionary[int, SteeredModel]" = weakref.WeakValueDictionary()
_REGISTRY = threading.Lock()


class SteeredModel:
    """The one owner of a model's hooks: every row of a forward pass gets its own offsets, or none.

    Take it with `SteeredModel.of(hf_model)`, never by the constructor. What a `with` block below asks for holds for
    calls from the same context only (this thread, this task, and workers run in a copy of its context); other threads
    and calls outside the block see the model as it is. Plans run concurrently; `lock` is for callers that need the
    model to themselves, and `inject` holds it.

    Example:
        >>> from persona_align.steering.offsets import ActivationOffsets
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=9)
        >>> hf_model = LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **sizes)).eval()
        >>> steered = SteeredModel.of(hf_model)
        >>> tilt = ActivationOffsets(torch.ones(steered.geometry.shape), fingerprint=steered.fingerprint)
        >>> ids = torch.tensor([[1, 2], [1, 2]])
        >>> with steered.plan([tilt, None]), torch.no_grad():
        ...     logits = hf_model(ids).logits
        >>> bool((logits[0] != logits[1]).any()), bool((logits[1] == hf_model(ids).logits[1]).all())
        (True, True)
    """

    def __init__(self, hf_model: nn.Module) -> None:
        projections = find_projections(hf_model)
        self.key = next(_KEYS)
        self.model: Any = hf_model
        self.geometry: Geometry = projections.geometry
        self.lock = threading.RLock()
        self.fingerprint = model_fingerprint(hf_model, projections)
        self.differentiating: Binding | None = None
        self._modules = projections.modules
        self._contributions = Contributions(projections.modules)
        self._attach(projections.stack)

    @classmethod
    def of(cls, hf_model: Any) -> "SteeredModel":
        """The owner of `hf_model`'s hooks; the same one for the same model.

        Args:
            hf_model: A Hugging Face causal language model, a compiled form of one, or a SteeredModel.

        Raises:
            UnsupportedModelError: The model cannot be steered; the message says why.
        """
        if isinstance(hf_model, SteeredModel):
            return hf_model
        hf_model = getattr(hf_model, "_orig_mod", hf_model)
        if not isinstance(hf_model, nn.Module):
            raise UnsupportedModelError(
                f"{type(hf_model).__name__} is not a Hugging Face model.", "Pass the model that from_pretrained gave."
            )
        with _REGISTRY:
            steered = _BY_MODEL.get(id(hf_model))
            if steered is None or steered.model is not hf_model or not steered.attached:
                steered = _BY_MODEL[id(hf_model)] = cls(hf_model)
            return steered

    @property
    def attached(self) -> bool:
        """Whether the hooks are in place; False after `detach`."""
        return bool(self._handles)

    @property
    def device(self) -> torch.device:
        """Where the model's first layer lies."""
        return next(self._modules[0].parameters()).device

    @contextmanager
    def plan(
        self, rows: Sequence[ActivationOffsets | None], *, prompt_length: int | None = None
    ) -> Iterator["SteeredModel"]:
        """Steer the calls inside the block, each row of their batch with its own offsets.

        Beams and `num_return_sequences` expand the rows as `generate` does. A plan inside a plan replaces it.

        Args:
            rows: One entry for every row of the batch; None leaves the row as it is.
            prompt_length: Tokens of the prompt with padding, for passes outside `generate` over a prompt in several
                chunks; `generate` itself tells its prompt.

        Raises:
            IncompatibleOffsetsError: Offsets of another model or geometry; raised before any forward pass.
            UnsupportedModelError: On leaving the block, where no layer met the plan.
        """
        session = self._row_plan(rows, prompt_length)
        if session is None:  # hides a plan around this one
            with self._bind(_Untouched(), "plan"):
                yield self
            return
        if torch.is_grad_enabled() and self._recomputes():
            with self._differentiate(session, "plan"):
                yield self
        else:
            with self._bind(session, "plan"):
                yield self
        session.check_reached()

    @contextmanager
    def capture(self) -> Iterator[Captured]:
        """Record what enters the projections: the heads' outputs, of the last forward pass inside the block."""
        captured = Captured(self.geometry)
        with self._bind(captured, "capture"):
            yield captured

    @contextmanager
    def inject(self, tensor: torch.Tensor) -> Iterator["SteeredModel"]:
        """Add a tensor to the heads' outputs at all positions, with gradients; holds the lock.

        With gradient checkpointing, call `backward` inside the block too: it runs the layers again.

        Args:
            tensor: [rows or 1, layers, heads, head_dim]; may require gradients.

        Raises:
            IncompatibleOffsetsError: Another shape, or values that are not finite.
        """
        with self._differentiate(Injection(tensor, self._modules, self.geometry), "inject"):
            yield self

    def detach(self) -> None:
        """Take the hooks off the model, which is then as it was before; plans still open become inert."""
        with _REGISTRY, self.lock:
            for handle in self._handles:
                handle.remove()
            self._handles = ()
            if _BY_MODEL.get(id(self.model)) is self:
                del _BY_MODEL[id(self.model)]

    def _attach(self, stack: nn.Module) -> None:
        names = tuple(inspect.signature(stack.forward).parameters)
        handles = [stack.register_forward_pre_hook(StackHook(self, names), with_kwargs=True)]
        handles += [
            module.register_forward_hook(ProjectionHook(self, layer)) for layer, module in enumerate(self._modules)
        ]
        self._handles: tuple[Any, ...] = tuple(handles)
        # Code compiled before now has no hooks in it and would never look for them.
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo is not None:
            dynamo.reset()

    def _row_plan(self, rows: Sequence[ActivationOffsets | None], prompt_length: int | None) -> RowPlan | None:
        rows = list(rows)
        if not rows:
            msg = "a plan needs one entry for every row of the batch, and this one has none"
            raise ValueError(msg)
        for row in rows:
            self._check(row)
        if not self.attached:
            raise UnsupportedModelError(
                "This SteeredModel was detached from its model.", "Take a new one with SteeredModel.of(hf_model)."
            )
        parts = [None if row is None or row.is_zero else self._contributions.of(row) for row in rows]
        if all(part is None for part in parts):
            return None
        return RowPlan(self.model, rows, parts, prompt_length)

    def _check(self, row: ActivationOffsets | None) -> None:
        if row is None:
            return
        if not isinstance(row, ActivationOffsets):
            msg = f"a plan holds ActivationOffsets or None, not {type(row).__name__}"
            raise TypeError(msg)
        if row.geometry != self.geometry or row.fingerprint != self.fingerprint:
            raise IncompatibleOffsetsError(
                f"The offsets ({row.geometry}) belong to the model {row.fingerprint}, and this model "
                f"({self.geometry}) is {self.fingerprint}.",
                "Load the model they were computed on, or compute them again on this one.",
            )

    def _bind(self, session: Any, kind: str) -> Binding:
        return Binding(self, session, kind)

    @contextmanager
    def _differentiate(self, session: Any, kind: str) -> Iterator[None]:
        with self.lock, self._bind(session, kind) as binding:
            before, self.differentiating = self.differentiating, binding
            try:
                yield
            finally:
                self.differentiating = before

    def _recomputes(self) -> bool:
        return bool(self.model.training and getattr(self.model, "is_gradient_checkpointing", False))


class _Untouched:
    """A plan in which nobody is steered."""

    def begin(self, inputs: torch.Tensor, mask: torch.Tensor | None, past: int | torch.Tensor) -> None:
        return None

    def through(self, layer: int, entering: torch.Tensor | None, output: torch.Tensor) -> torch.Tensor:
        return output
