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
from persona_align.steering.session import Session, Untouched

__all__ = ["SteeredModel", "model_fingerprint"]

_KEYS = itertools.count(1)
_BY_MODEL: "weakref.WeakValueDictionary[int, SteeredModel]" = weakref.WeakValueDictionary()
_REGISTRY = threading.Lock()


class SteeredModel:
    """The one owner of a model's hooks: every row of a forward pass gets its own offsets, or none.

    Take it with `SteeredModel.of(hf_model)`, never by the constructor. What a `with` block below asks for holds for
    calls from the same context only: this thread or task, and workers run in a copy of its context. Other threads and
    calls outside the block see the model as it is. Plans run concurrently, eager or compiled; `lock` is for callers
    that need the model to themselves, and `inject` holds it.

    Do not `yield` to a caller inside a block: the caller's own calls would be in its context.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=9)
        >>> hf_model = LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **sizes)).eval()
        >>> steered = SteeredModel.of(hf_model)
        >>> tilt = ActivationOffsets(torch.ones(steered.geometry.shape), fingerprint=steered.fingerprint)
        >>> ids = torch.tensor([[1, 2], [1, 2]])
        >>> with steered.plan([tilt, None]), torch.no_grad():
        ...     logits = hf_model(ids).logits
        >>> torch.equal(logits[0], logits[1]), torch.equal(logits[1], hf_model(ids).logits[1])
        (False, True)
    """

    def __init__(self, hf_model: nn.Module) -> None:
        projections = find_projections(hf_model)
        self.key = next(_KEYS)
        self.model: Any = hf_model
        self.geometry: Geometry = projections.geometry
        self.fingerprint = model_fingerprint(hf_model, projections)
        self.lock = threading.RLock()
        self.differentiating: Binding | None = None
        self._modules = projections.modules
        dtype = getattr(hf_model, "dtype", torch.float32)
        self._contributions = Contributions(projections.modules, dtype=dtype)
        self._generating = _around(projections.stack, hf_model)
        self._handles = self._attach(projections.stack)
        self.attached = True  # until detach()

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
            if steered is None or steered.model is not hf_model:
                steered = _BY_MODEL[id(hf_model)] = cls(hf_model)
            return steered

    @property
    def device(self) -> torch.device:
        """Where inputs belong: the device of the model's embeddings."""
        device: torch.device = self.model.device
        return device

    @contextmanager
    def plan(
        self, rows: Sequence[ActivationOffsets | None], *, prompt_length: int | None = None
    ) -> Iterator["SteeredModel"]:
        """Steer the calls inside the block, each row of their batch with its own offsets.

        Beams and `num_return_sequences` expand the rows as `generate` does. A plan inside a plan replaces it.

        Args:
            rows: One entry for every row of the batch; None leaves the row as it is.
            prompt_length: Tokens of the prompt, padding included, for offsets that leave out the prompt, where passes
                run outside `generate` and the prompt takes several; `generate` itself tells its prompt.

        Raises:
            IncompatibleOffsetsError: Offsets of another model or geometry, before any forward pass; a batch that is no
                multiple of the rows, before its first layer.
            UnsupportedModelError: On leaving the block, where a layer never met the plan.
        """
        session = self._session(list(rows), prompt_length)
        binding = Binding(self, session, "plan")
        with self._exclusive(binding) if torch.is_grad_enabled() and self._recomputes() else binding:
            yield self
        if isinstance(session, RowPlan):
            session.check_reached()

    @contextmanager
    def capture(self) -> Iterator[Captured]:
        """Record what enters the projections: the heads' outputs, of the last forward pass inside the block."""
        captured = Captured(self.geometry)
        with Binding(self, captured, "capture"):
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
        with self._exclusive(Binding(self, Injection(tensor, self._modules, self.geometry), "inject")):
            yield self

    def detach(self) -> None:
        """Take the hooks off the model, which is then as it was before; blocks still open no longer reach it."""
        with _REGISTRY:
            self.attached = False  # compiled code keeps its operators, which then find nothing bound
            for handle in self._handles:
                handle.remove()
            self._handles = []
            if _BY_MODEL.get(id(self.model)) is self:
                del _BY_MODEL[id(self.model)]

    def _attach(self, stack: nn.Module) -> list[Any]:
        names = tuple(inspect.signature(stack.forward).parameters)
        handles = [stack.register_forward_pre_hook(StackHook(self, names), with_kwargs=True)]
        for layer, module in enumerate(self._modules):
            handles.append(module.register_forward_hook(ProjectionHook(self, layer)))
        # Code compiled before now has no hooks in it and would never look for them: it is compiled again.
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        return handles

    def _session(self, rows: list[ActivationOffsets | None], prompt_length: int | None) -> Session:
        if not rows:
            msg = "a plan needs one entry for every row of the batch, and this one has none"
            raise ValueError(msg)
        if not self.attached:
            raise UnsupportedModelError(
                "This SteeredModel was detached from its model.", "Take a new one with SteeredModel.of(hf_model)."
            )
        for row in rows:
            self._check(row)
        parts = [None if row is None or row.is_zero else self._contributions.of(row) for row in rows]
        if all(part is None for part in parts):
            return Untouched(len(rows))
        return RowPlan(rows, parts, prompt_length, self._generating)

    def _check(self, row: object) -> None:
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

    @contextmanager
    def _exclusive(self, binding: Binding) -> Iterator[None]:
        with self.lock, binding:
            before, self.differentiating = self.differentiating, binding
            try:
                yield
            finally:
                self.differentiating = before

    def _recomputes(self) -> bool:
        parts = self.model.modules() if self.model.training else ()
        return any(getattr(part, "gradient_checkpointing", False) for part in parts)


def _around(stack: nn.Module, hf_model: nn.Module) -> frozenset[int]:
    """Ids of the modules that contain the stack: the model, and what an adapter library wrapped."""
    return frozenset(id(part) for part in hf_model.modules() if any(inner is stack for inner in part.modules()))
