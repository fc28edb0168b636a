"""Offsets per preference dimension: what a person prefers, turned into what a model's heads add."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from persona_align.errors import IncompatibleOffsetsError, UnknownDimensionError
from persona_align.preferences import ALIGNX, Dimension, PreferenceSpace, PreferenceVector, Reading
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.progress import Progress, watched
from persona_align.steering.steered import SteeredModel, model_fingerprint
from persona_align.steering.strength import STRONGEST, combined
from persona_align.steering.tensor_files import write_tensors

__all__ = ["SteeringBasis", "default_cache", "steerable"]

FORMAT = 2
_WEIGHTS, _CARD = "steering_basis.safetensors", "steering_basis.json"
_ON_CARD = ("poles", "fingerprint", "limit", "curve", "fitted")
"""What a card of this format holds beside its number; whoever adds to it raises FORMAT."""


def steerable(dimension: Dimension) -> bool:
    """Whether a dimension may ever steer: not a sensitive one, nor one that means nothing without its object."""
    return dimension.condition_on != "none" and not dimension.sensitive and not dimension.open_valued


def default_cache() -> Path:
    """Where bases are kept if asked: the folder PERSONA_ALIGN_CACHE names, else one in the user's own cache."""
    named = os.environ.get("PERSONA_ALIGN_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "persona-align"


class SteeringBasis:
    """For each pole of each dimension, the offsets that make a model follow it without being told.

    Built by `fit` or `from_pretrained`. Strength 1.0 is calibrated: each pole alone, and any of them together, stay
    fluent; `curve` holds measurements at multiples of it.

    Example:
        >>> basis = SteeringBasis.fit(model, tokenizer)  # doctest: +SKIP
        >>> offsets = basis.offsets(PreferenceVector.of({"humor": 0.9}))  # doctest: +SKIP
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        *,
        poles: Sequence[tuple[str, int, str]],
        fingerprint: str,
        limit: float,
        curve: Sequence[dict[str, float]] = (),
        fitted: dict[str, Any] | None = None,
    ) -> None:
        """Take what a fit found.

        Args:
            values: Offsets per pole at strength 1.0, [poles, layers, heads, head_dim].
            poles: Key, sign and name of each pole, in the order of `values`.
            fingerprint: Of the model that the offsets belong to.
            limit: The largest norm that several poles may reach together at strength 1.0.
            curve: Fluency measured for multiples of strength 1.0.
            fitted: How the basis was fitted, for its card.
        """
        self.values = np.array(values, dtype=np.float32)
        self.values.setflags(write=False)
        self.poles = tuple((str(key), int(sign), str(name)) for key, sign, name in poles)
        self.fingerprint = fingerprint
        self.limit = float(limit)
        self.curve = tuple(curve)
        self.fitted = dict(fitted or {})
        self._row = {(key, sign): row for row, (key, sign, _) in enumerate(self.poles)}

    @classmethod
    def fit(
        cls,
        hf_model: Any,
        tokenizer: Any,
        *,
        space: PreferenceSpace = ALIGNX,
        dimensions: Sequence[str] | None = None,
        seed: int = 0,
        cache: str | Path | None = None,
        effort: float = 1.0,
        progress: Progress | None = None,
    ) -> Self:
        """Fit the offsets of a space on a model, once per model.

        The model is told each pole in a prompt, and offsets are found under which it replies the same untold.

        Args:
            hf_model: Any causal language model of transformers with attention output projections.
            tokenizer: Its tokenizer, with or without a chat template.
            space: The dimensions.
            dimensions: Keys to fit; None fits all that may be steered.
            seed: Same seed, same bytes on the same machine.
            cache: A folder where the basis is kept, or found again for the same model, space and settings; with
                `default_cache()`, `PersonaAligner.wrap` finds it too.
            effort: A factor on the number of lessons and steps.
            progress: Called with a label, the number done and the total. Without one, a line is kept up to date on a
                terminal and in a notebook; `persona_align.steering.silent` shows nothing.

        Raises:
            UnknownDimensionError: A key that the space does not have, or that is never steered.
            UnsupportedModelError: The model cannot be steered.
        """
        from persona_align.steering.basis_fit import fit_poles

        chosen = _chosen(space, dimensions)
        steered = SteeredModel.of(hf_model)
        folder = None
        if cache is not None:
            folder = Path(cache) / _cache_key(steered.fingerprint, chosen, seed, effort)
            if (folder / _CARD).is_file():
                return cls.from_pretrained(folder, hf_model)
        basis = cls(**fit_poles(steered, tokenizer, chosen, seed=seed, effort=effort, progress=watched(progress)))
        if folder is not None:
            basis.save_pretrained(folder)
        return basis

    @classmethod
    def cached(cls, hf_model: Any, cache: str | Path | None = None) -> Self | None:
        """The basis with the most dimensions that was cached for a model, or None.

        Args:
            hf_model: The model.
            cache: The folder that `fit` was given; None looks into `default_cache()`.
        """
        fingerprint = model_fingerprint(hf_model)
        found = []
        for card in sorted(Path(cache or default_cache()).glob(f"basis-*/{_CARD}")):
            held = json.loads(card.read_text(encoding="utf-8"))
            if held.get("fingerprint") == fingerprint and held.get("format") == FORMAT:
                found.append((len(held["poles"]), card.parent))
        return cls.from_pretrained(max(found)[1], hf_model) if found else None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The keys that the basis can steer, in the order of its space."""
        return tuple(dict.fromkeys(key for key, _, _ in self.poles))

    def steering(self, vector: PreferenceVector) -> list[Reading]:
        """The readings that `offsets` goes by: the three strongest that may steer and that the basis knows."""
        found = [
            reading
            for reading in vector.confident()
            if steerable(reading.dimension)
            and reading.dimension.usable(reading.value)
            and reading.weight != 0
            and (row := self._row.get(_pole(reading))) is not None
            and self.poles[row][2] == reading.pole
        ]
        return sorted(found, key=lambda reading: -abs(reading.weight))[:STRONGEST]

    def offsets(self, vector: PreferenceVector, strength: float = 1.0) -> ActivationOffsets:
        """The confidence-weighted sum over the three strongest preferences known of a person.

        Only readings over their space's confidence floor count, never a sensitive or open-valued dimension, and never
        a pole that must not reach a model.

        Args:
            vector: The person's preferences.
            strength: In multiples of the calibrated default; 0 is exactly off.

        Returns:
            Offsets whose norm is bounded, so that many preferences together stay as fluent as a few. Zero, with a
            reason, where nothing is known that may steer.
        """
        if not np.isfinite(strength):
            msg = f"strength must be a finite number, not {strength}"
            raise ValueError(msg)
        weights = {self._row[_pole(reading)]: abs(reading.weight) for reading in self.steering(vector)}
        reason = None if weights and strength else "no known preference steers" if not weights else "strength is 0"
        total = combined(self.values, weights, self.limit)
        return ActivationOffsets(
            (total * strength).astype(np.float32) + np.float32(0), fingerprint=self.fingerprint, reason=reason
        )

    def recalibrated(
        self, hf_model: Any, tokenizer: Any, *, seed: int = 0, effort: float = 1.0, progress: Progress | None = None
    ) -> "SteeringBasis":
        """The same directions with their strengths measured again on the model.

        Args:
            hf_model: The model that the basis belongs to.
            tokenizer: Its tokenizer.
            seed: Of the combinations that are tried.
            effort: A factor on the numbers of messages and combinations.
            progress: Called with a label, the number done and the total.

        Raises:
            IncompatibleOffsetsError: The basis belongs to another model.
        """
        from persona_align.steering.calibration import calibrate

        _check_model(self.fingerprint, hf_model)
        steered = SteeredModel.of(hf_model)
        found = calibrate(
            steered, tokenizer, self.poles, self.values, seed=seed, effort=effort, progress=watched(progress)
        )
        before = self.fitted.get("factors", [1.0] * len(self.poles))
        factors = [round(old * new, 4) for old, new in zip(before, found.factors, strict=True)]
        return SteeringBasis(
            found.values,
            poles=self.poles,
            fingerprint=self.fingerprint,
            limit=found.limit,
            curve=found.curve,
            fitted={**self.fitted, "factors": factors},
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the basis: the offsets as safetensors, everything else as JSON."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / _WEIGHTS, {"values": np.ascontiguousarray(self.values)})
        card = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "limit": self.limit,
            "poles": [list(pole) for pole in self.poles],
            "curve": list(self.curve),
            "fitted": self.fitted,
        }
        (folder / _CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path, hf_model: Any = None) -> Self:
        """Read a basis.

        Args:
            folder: Where `save_pretrained` wrote it.
            hf_model: The model that it is to steer; None reads it unchecked.

        Raises:
            IncompatibleOffsetsError: The folder holds no basis that this version reads, or one of another model.
        """
        folder = Path(folder)
        try:
            card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
            values = load_file(folder / _WEIGHTS)["values"]
        except (OSError, ValueError, KeyError) as error:
            raise IncompatibleOffsetsError(
                f"{folder} holds no steering basis ({error}).", "Write one with `basis.save_pretrained(folder)`."
            ) from error
        if card.get("format") != FORMAT:
            raise IncompatibleOffsetsError(
                f"{folder} holds a steering basis of format {card.get('format')}, this version reads {FORMAT}.",
                "Fit it again with `SteeringBasis.fit(model, tokenizer)`.",
            )
        if missing := [key for key in _ON_CARD if key not in card]:
            raise IncompatibleOffsetsError(
                f"The card of the steering basis in {folder} lacks {', '.join(missing)}: another version wrote it.",
                "Fit it again with `SteeringBasis.fit(model, tokenizer)`.",
            )
        if hf_model is not None:
            _check_model(card["fingerprint"], hf_model)
        return cls(values, **{key: card[key] for key in _ON_CARD})


def _pole(reading: Reading) -> tuple[str, int]:
    return reading.key, 1 if reading.value > 0 else -1


def _check_model(fingerprint: str, hf_model: Any) -> None:
    found = model_fingerprint(hf_model)
    if found != fingerprint:
        raise IncompatibleOffsetsError(
            f"The basis belongs to model {fingerprint}, this is {found}.",
            "Fit one for this model with `SteeringBasis.fit(model, tokenizer)`.",
        )


def _chosen(space: PreferenceSpace, keys: Sequence[str] | None) -> list[Dimension]:
    if keys is None:
        return [dimension for dimension in space if steerable(dimension)]
    dimensions = [space[key] for key in dict.fromkeys(keys)]
    blocked = [dimension.key for dimension in dimensions if not steerable(dimension)]
    if blocked:
        raise UnknownDimensionError(
            f"These dimensions are never steered: {', '.join(blocked)}.",
            "They are sensitive, blocked, or mean nothing without their object: leave them out.",
        )
    return dimensions


def _cache_key(fingerprint: str, dimensions: Sequence[Dimension], seed: int, effort: float) -> str:
    told = [[d.key, d.high, d.low, d.condition_on] for d in dimensions]
    text = json.dumps([FORMAT, fingerprint, told, seed, effort])
    return f"basis-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
