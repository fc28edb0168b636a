"""What binds a forward pass to the request that asked for it: a context variable, read by hooks that stay in place.

Hooks are registered once, when a model gets its owner, because a hook added to compiled code is ignored. In eager code
they read the context variable directly. In compiled code they become one opaque operator that reads it when the code
*runs*, so a compiled model carries no steering of its own: whoever calls it, in whichever thread, gets what is bound
to their context and nothing else.
"""

import weakref
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from persona_align.steering.session import Pass, Session

if TYPE_CHECKING:
    from persona_align.steering.steered import SteeredModel

__all__ = ["Binding", "ProjectionHook", "StackHook"]

_ACTIVE: ContextVar[tuple["Binding", ...]] = ContextVar("persona_align_steering", default=())
_OWNERS: "weakref.WeakValueDictionary[int, SteeredModel]" = weakref.WeakValueDictionary()


class Binding:
    """A session bound to the current context for the length of a `with` block.

    Args:
        owner: The steered model whose passes are meant; passes of other models are left alone.
        session: What to do to them.
        kind: A new binding hides the owner's earlier ones of the same kind.
    """

    def __init__(self, owner: "SteeredModel", session: Session, kind: str) -> None:
        self.owner = owner
        self.key = owner.key
        self.session = session
        self.kind = kind
        self.open = False
        self._token: Token[tuple[Binding, ...]] | None = None

    def __enter__(self) -> Self:
        kept = tuple(b for b in _ACTIVE.get() if (b.key, b.kind) != (self.key, self.kind))
        self.open = True
        self._token = _ACTIVE.set((*kept, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Copies of this context (a task, a worker thread) keep the binding after us: closing makes it inert there.
        self.open = False
        token, self._token = self._token, None
        if token is not None:
            try:
                _ACTIVE.reset(token)
            except ValueError:  # an async generator that is closed from another context; that context never saw us
                return


def _bound(key: int) -> list[Session]:
    """The open sessions of one owner in the current context."""
    active = _ACTIVE.get()
    if active:
        return [binding.session for binding in active if binding.key == key and binding.open and binding.owner.attached]
    # With gradient checkpointing a layer runs again in the backward pass, on a GPU in a thread of autograd's own,
    # which has no context of ours. A binding that needs gradients is exclusive, so the owner knows which it was.
    if torch._C._current_graph_task_id() != -1:
        owner = _OWNERS.get(key)
        if owner is not None and owner.differentiating is not None:
            return [owner.differentiating.session]
    return []


class _Hook:
    """A hook that a copy of the model does not inherit: the copy gets an owner of its own when it needs one."""

    def __init__(self, owner: "SteeredModel") -> None:
        self.key = owner.key
        self.owner = owner  # keeps the owner alive as long as its model
        _OWNERS[owner.key] = owner

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Inert":
        return _Inert()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Inert, ()


class ProjectionHook(_Hook):
    """Hands what leaves one layer's projection to the bound sessions.

    Args:
        owner: Of the model.
        layer: Index of the projection's layer.
    """

    def __init__(self, owner: "SteeredModel", layer: int) -> None:
        super().__init__(owner)
        self.layer = layer

    def __call__(self, _module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """What leaves the projection with all that is bound to this context."""
        if torch.compiler.is_compiling():
            steered: torch.Tensor = torch.ops.persona_align.steer(output, self.key, self.layer)
            return steered
        for session in _bound(self.key):
            output = session.through(self.layer, args[0], output)
        return output


class StackHook(_Hook):
    """Tells the bound sessions that a forward pass begins.

    Args:
        owner: Of the model.
        names: Parameters of the stack's forward, in order.
    """

    def __init__(self, owner: "SteeredModel", names: tuple[str, ...]) -> None:
        super().__init__(owner)
        self.names = names

    def __call__(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Announce the pass; compiled code carries the announcement in its input."""
        compiling = torch.compiler.is_compiling()
        sessions = [] if compiling else _bound(self.key)
        if not compiling and not sessions:
            return None
        name = "inputs_embeds" if self._find("input_ids", args, kwargs) is None else "input_ids"
        inputs = self._find(name, args, kwargs)
        padding = self._find("attention_mask", args, kwargs)
        padding = padding if isinstance(padding, torch.Tensor) and padding.dim() == 2 else None
        cache = self._find("past_key_values", args, kwargs)
        past = 0 if cache is None else cache.get_seq_length()
        if not compiling:
            for session in sessions:
                session.begin(Pass(inputs, padding, past))
            return None
        length = past if isinstance(past, torch.Tensor) else None
        inputs = torch.ops.persona_align.begin(inputs, padding, length, 0 if length is not None else past, self.key)
        if name in kwargs:
            return args, {**kwargs, name: inputs}
        index = self.names.index(name)
        return (*args[:index], inputs, *args[index + 1 :]), kwargs

    def _find(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        if name in self.names and self.names.index(name) < len(args):
            return args[self.names.index(name)]
        return None


class _Inert:
    """What a copied or pickled model has in place of our hooks."""

    def __call__(self, *_: Any) -> None:
        return None


# A CUDA graph would replay the offsets of whoever was first: the tag keeps these two operators out of graphs.
_TAGS = tuple(tag for tag in (getattr(torch.Tag, "cudagraph_unsafe", None),) if tag is not None)


@torch.library.custom_op("persona_align::steer", mutates_args=(), tags=_TAGS)
def _steer(output: torch.Tensor, key: int, layer: int) -> torch.Tensor:
    steered = output
    for session in _bound(key):
        steered = session.through(layer, None, steered)
    return steered.clone() if steered is output else steered


@torch.library.custom_op("persona_align::begin", mutates_args=(), tags=_TAGS)
def _begin(
    inputs: torch.Tensor, padding: torch.Tensor | None, length: torch.Tensor | None, past: int, key: int
) -> torch.Tensor:
    for session in _bound(key):
        session.begin(Pass(inputs, padding, past if length is None else length))
    return inputs.clone()


# Shapes and gradients pass both operators unchanged: an offset is a constant.
_steer.register_fake(lambda output, *_: torch.empty_like(output))
_steer.register_autograd(lambda _, grad: (grad, None, None))
_begin.register_fake(lambda inputs, *_: torch.empty_like(inputs))
_begin.register_autograd(lambda _, grad: (grad, None, None, None, None))
