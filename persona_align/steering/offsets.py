"""ActivationOffsets: what is added to every attention head's output for one user; an immutable value."""

import functools
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from persona_align.errors import IncompatibleOffsetsError

if TYPE_CHECKING:
    from persona_align.steering.steered import SteeredModel

__all__ = ["ActivationOffsets", "Geometry", "Positions"]

Positions = Literal["all", "generated", "last_prompt_onward"]
_POSITIONS: Final = get_args(Positions)


@dataclass(frozen=True)
class Geometry:
    """The shape of a model's head outputs.

    Args:
        layers: Decoder layers.
        heads: Query heads a layer.
        head_dim: Width of one head's output.

    Example:
        >>> Geometry(32, 32, 128).shape
        (32, 32, 128)
    """

    layers: int
    heads: int
    head_dim: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, heads, head_dim)."""
        return self.layers, self.heads, self.head_dim

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape))


class ActivationOffsets:
    """What to add to every attention head's output, for one user and one model; immutable and hashable.

    Only heads that are not zero are kept, in float32 or (after `half()`) in float16, so that a thousand users fit in
    memory. `repr` is the content hash, because LangChain's LLM cache keys on the repr of arguments.

    Args:
        values: [layers, heads, head_dim], in the units of the model's activations; copied.
        fingerprint: The model's, from `SteeredModel.fingerprint` or `model_fingerprint`.
        positions: Which positions are steered. "all" includes the prompt. "generated" leaves the prompt's keys and
            values as they are, so that they can be shared between users. "last_prompt_onward" begins at the last
            token of the prompt, which predicts the first new one.
        reason: Why the offsets are zero, where they are.

    Raises:
        IncompatibleOffsetsError: The values are not three-dimensional or not finite.

    Example:
        >>> tilt = ActivationOffsets(np.ones((1, 2, 2)), fingerprint="f")
        >>> (2 * tilt - tilt) == tilt, tilt.norm
        (True, 2.0)
    """

    __array_ufunc__ = None  # so that numpy scalars leave `scalar * offsets` to __rmul__

    geometry: Geometry
    fingerprint: str
    positions: Positions
    reason: str | None

    def __init__(
        self,
        values: npt.ArrayLike,
        *,
        fingerprint: str,
        positions: Positions = "all",
        reason: str | None = None,
    ) -> None:
        dense = _as_float32(values)
        if dense.ndim != 3 or 0 in dense.shape:
            raise IncompatibleOffsetsError(
                f"Offsets have the shape [layers, heads, head_dim], not {list(dense.shape)}.",
                "Take the shape from SteeredModel.of(hf_model).geometry.shape.",
            )
        heads = np.flatnonzero(dense.any(axis=-1)).astype(np.int32)
        packed = dense.reshape(-1, dense.shape[-1])[heads]
        self._fill(heads, packed, Geometry(*dense.shape), fingerprint, positions, reason)

    @classmethod
    def zero(cls, steered: "SteeredModel", *, reason: str | None = None, positions: Positions = "all") -> Self:
        """Offsets that change nothing, for the model that `steered` owns."""
        shape = steered.geometry.shape
        return cls(np.zeros(shape), fingerprint=steered.fingerprint, positions=positions, reason=reason)

    @classmethod
    def _of(
        cls,
        heads: npt.NDArray[np.int32],
        packed: npt.NDArray[Any],
        geometry: Geometry,
        fingerprint: str,
        positions: Positions,
        reason: str | None,
    ) -> Self:
        made = cls.__new__(cls)
        made._fill(heads, packed, geometry, fingerprint, positions, reason)
        return made

    def _fill(
        self,
        heads: npt.NDArray[np.int32],
        packed: npt.NDArray[Any],
        geometry: Geometry,
        fingerprint: str,
        positions: Positions,
        reason: str | None,
    ) -> None:
        if not isinstance(fingerprint, str) or not fingerprint:
            raise IncompatibleOffsetsError(
                "Offsets belong to a model, and no fingerprint was given.",
                "Pass SteeredModel.of(hf_model).fingerprint.",
            )
        if positions not in _POSITIONS:
            msg = f"positions must be one of {', '.join(_POSITIONS)}, not {positions!r}"
            raise ValueError(msg)
        if not np.isfinite(packed).all():
            raise IncompatibleOffsetsError(
                "Offsets hold values that are not finite.",
                "Look for NaN in the answers or a strength that is too large.",
            )
        if packed.flags.writeable:  # fresh, and not shared with offsets that exist already
            packed += packed.dtype.type(0)  # minus zero becomes zero, so that equal contents hash alike
        for array in (heads, packed):
            array.setflags(write=False)
        self._heads, self._packed, self.geometry = heads, packed, geometry
        self.fingerprint, self.positions, self.reason = fingerprint, positions, reason
        self._frozen = True

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, "_frozen", False):
            msg = f"ActivationOffsets are immutable: {name} cannot be set"
            raise AttributeError(msg)
        super().__setattr__(name, value)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """[layers, heads, head_dim], float32 and read-only; unpacked on each access."""
        dense = np.zeros((self.geometry.layers * self.geometry.heads, self.geometry.head_dim), np.float32)
        dense[self._heads] = self._packed
        dense = dense.reshape(self.geometry.shape)
        dense.setflags(write=False)
        return dense

    @functools.cached_property
    def content_hash(self) -> str:
        """Hex digest of the values, the positions and the model's fingerprint."""
        digest = hashlib.sha256(f"{self.fingerprint}|{self.positions}|{self.geometry}|".encode())
        digest.update(self._heads.astype("<i4").tobytes())
        digest.update(self._packed.astype("<f4").tobytes())
        return digest.hexdigest()[:32]

    @functools.cached_property
    def norm(self) -> float:
        """Euclidean norm of all values."""
        return float(np.linalg.norm(self._packed.astype(np.float64)))

    @property
    def is_zero(self) -> bool:
        """Whether the offsets change nothing."""
        return len(self._heads) == 0

    @property
    def nbytes(self) -> int:
        """Bytes that the kept values take."""
        return self._heads.nbytes + self._packed.nbytes

    def half(self) -> Self:
        """The same offsets rounded to float16, in half the memory."""
        if self._packed.dtype == np.float16:
            return self
        with np.errstate(over="ignore"):
            rounded = self._packed.astype(np.float16)
        kept = rounded.any(axis=-1)
        if kept.all():  # the usual case, spared two copies
            parts = (self.geometry, self.fingerprint, self.positions, self.reason)
            return self._of(self._heads, rounded, *parts)
        return self._of(self._heads[kept], rounded[kept], self.geometry, self.fingerprint, self.positions, self.reason)

    def at(self, positions: Positions) -> Self:
        """The same values, applied at other positions."""
        return self._of(self._heads, self._packed, self.geometry, self.fingerprint, positions, self.reason)

    def clip(self, max_norm: float) -> Self:
        """The offsets, scaled down where their norm exceeds `max_norm`."""
        if not max_norm >= 0:
            msg = f"max_norm must be zero or more, not {max_norm}"
            raise ValueError(msg)
        return self if self.norm <= max_norm else self * (max_norm / self.norm)

    def __add__(self, other: "ActivationOffsets") -> Self:
        if not isinstance(other, ActivationOffsets):
            return NotImplemented
        self._check_same_kind(other)
        return self._with(self.values + other.values)

    def __sub__(self, other: "ActivationOffsets") -> Self:
        if not isinstance(other, ActivationOffsets):
            return NotImplemented
        self._check_same_kind(other)
        return self._with(self.values - other.values)

    def __mul__(self, factor: float) -> Self:
        if not isinstance(factor, int | float | np.number):
            return NotImplemented
        if not math.isfinite(factor):
            raise IncompatibleOffsetsError(f"Offsets cannot be scaled by {factor}.", "Pass a finite number.")
        with np.errstate(over="ignore"):
            return self._with(self.values * np.float32(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Self:
        return self * (1 / divisor)

    def __neg__(self) -> Self:
        return self * -1.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActivationOffsets) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        return self.content_hash

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._heads, self._packed, self.geometry, self.fingerprint, self.positions, self.reason)
        return _rebuilt, (type(self), *parts)

    def _with(self, values: npt.NDArray[np.float32]) -> Self:
        return type(self)(values, fingerprint=self.fingerprint, positions=self.positions, reason=self.reason)

    def _check_same_kind(self, other: "ActivationOffsets") -> None:
        if self.fingerprint != other.fingerprint or self.geometry != other.geometry:
            raise IncompatibleOffsetsError(
                f"Offsets of two models cannot be combined: {self.fingerprint} ({self.geometry}) and "
                f"{other.fingerprint} ({other.geometry}).",
                "Compute both on the same model.",
            )
        if self.positions != other.positions:
            raise IncompatibleOffsetsError(
                f"Offsets for the positions {self.positions!r} and {other.positions!r} cannot be combined.",
                "Choose one with offsets.at(positions).",
            )

    def save_pretrained(self, save_directory: str | Path, *, push_to_hub: bool = False, **hub: Any) -> None:
        """Write the offsets to a folder: one safetensors file and a readable JSON beside it.

        Args:
            save_directory: The folder, made where it is missing.
            push_to_hub: Whether to upload the folder too; `hub` then goes to `push_to_hub`.
            hub: `repo_id` (by default the folder's name), `private`, `token`, `commit_message`.
        """
        from persona_align.steering import offsets_files

        offsets_files.save(self, Path(save_directory))
        if push_to_hub:
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), **hub)

    @classmethod
    def from_pretrained(cls, source: str | Path, hf_model: Any = None, **hub: Any) -> Self:
        """Offsets from a folder, or from a repository of the Hugging Face hub where no such folder exists.

        Args:
            source: A folder that `save_pretrained` wrote, or a repository's name.
            hf_model: The model they will be used on; its fingerprint is then checked.
            hub: `revision`, `token` and other arguments of `huggingface_hub.hf_hub_download`.

        Raises:
            IncompatibleOffsetsError: The file is not one of offsets, or belongs to another model.
        """
        from persona_align.steering import offsets_files

        return cls._of(*offsets_files.load(source, hf_model, hub))

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Upload the offsets to a model repository of the Hugging Face hub; returns the commit's address.

        Args:
            repo_id: "owner/name"; made where it is missing.
            hub: `private`, `token`, `commit_message`, `revision`.
        """
        from persona_align.steering import offsets_files

        return offsets_files.push(self, repo_id, **hub)


def _as_float32(values: Any) -> npt.NDArray[np.float32]:
    if hasattr(values, "detach"):  # a torch tensor: on any device, in any dtype, with or without gradients
        values = values.detach().double().cpu().numpy()
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        return np.array(values, dtype=np.float32)


def _rebuilt(kind: type[ActivationOffsets], *parts: Any) -> ActivationOffsets:
    return kind._of(*parts)
