"""ActivationOffsets: an immutable value with exact arithmetic, a hash of its content and files of its own."""

import copy
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering import ActivationOffsets, Geometry, SteeredModel, SteeringBasis
from tests.steering.helpers import random_offsets
from tests.steering.models import build

SHAPE = (2, 3, 4)
FINITE = st.floats(-100, 100, width=32)
VALUES = st_numpy.arrays(np.float32, SHAPE, elements=FINITE)


def _offsets(values: Any, **options: Any) -> ActivationOffsets:
    return ActivationOffsets(values, fingerprint="f", **options)


@given(VALUES, VALUES, FINITE)
def test_arithmetic_is_that_of_the_arrays(one: np.ndarray, two: np.ndarray, factor: float):
    first, second = _offsets(one), _offsets(two)
    np.testing.assert_array_equal((first + second).values, one + two)
    np.testing.assert_array_equal((first - second).values, one - two)
    np.testing.assert_array_equal((-first).values, -one)
    np.testing.assert_array_equal((factor * first).values, one * np.float32(factor))
    assert first * np.float64(factor) == np.float64(factor) * first
    assert (first - first).is_zero
    np.testing.assert_array_equal(first.values, one)


@given(VALUES, st.floats(0, 50))
def test_clip_bounds_the_norm_and_keeps_the_direction(values: np.ndarray, limit: float):
    offsets = _offsets(values)
    clipped = offsets.clip(limit)
    assert clipped.norm <= limit * (1 + 1e-5) + 1e-6
    if offsets.norm <= limit:
        assert clipped is offsets
    elif limit > 0.1:
        np.testing.assert_allclose(clipped.values / limit, values / offsets.norm, atol=1e-4)


@given(VALUES)
def test_equal_contents_hash_alike(values: np.ndarray):
    offsets = _offsets(values)
    assert offsets == _offsets(torch.tensor(values, requires_grad=True)) == _offsets(values.tolist(), reason="why")
    assert repr(offsets) == offsets.content_hash == repr(_offsets(values - 0.0))
    assert len({offsets, _offsets(values), offsets.at("generated")}) == 2
    assert pickle.loads(pickle.dumps(offsets)) == copy.deepcopy(offsets) == offsets
    changed = values.copy()
    changed[0, 0, 0] += 1
    assert _offsets(changed).content_hash != offsets.content_hash
    assert offsets != ActivationOffsets(values, fingerprint="g")


def test_minus_zero_is_zero():
    assert _offsets(np.full(SHAPE, -0.0)) == _offsets(np.zeros(SHAPE))
    mixed = np.ones(SHAPE)
    mixed[0, 0, 0] = 0.0
    assert _offsets(mixed) == _offsets(np.where(mixed == 0, -0.0, mixed))


def test_nothing_can_be_changed():
    values = np.ones(SHAPE, np.float32)
    offsets = _offsets(values)
    values[:] = 7
    assert (offsets.values == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        offsets.values[0, 0, 0] = 2
    with pytest.raises(AttributeError, match="immutable"):
        offsets.fingerprint = "other"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused(bad: float):
    values = np.ones(SHAPE)
    values[1, 2, 3] = bad
    with pytest.raises(IncompatibleOffsetsError, match="not finite"):
        _offsets(values)
    with pytest.raises(IncompatibleOffsetsError):
        _offsets(np.full(SHAPE, 1e30)) * 1e30
    with pytest.raises(IncompatibleOffsetsError, match="not finite"):
        _offsets(np.full(SHAPE, 1e6)).half()


def test_offsets_of_different_kinds_do_not_mix():
    ones = _offsets(np.ones(SHAPE))
    with pytest.raises(IncompatibleOffsetsError, match=r"f \(2 x 3 x 4\) and g"):
        ones + ActivationOffsets(np.ones(SHAPE), fingerprint="g")
    with pytest.raises(IncompatibleOffsetsError, match="positions"):
        ones - ones.at("generated")
    with pytest.raises(IncompatibleOffsetsError, match="shape"):
        _offsets(np.ones((2, 3)))
    with pytest.raises(IncompatibleOffsetsError, match="fingerprint"):
        ActivationOffsets(np.ones(SHAPE), fingerprint="")
    with pytest.raises(ValueError, match="positions"):
        _offsets(np.ones(SHAPE), positions="everywhere")
    with pytest.raises(TypeError):
        ones * ones


def test_half_keeps_half_the_bytes_and_sparse_heads_fewer():
    dense = _offsets(np.random.default_rng(0).standard_normal((4, 8, 64)))
    half = dense.half()
    assert half.nbytes < 0.53 * dense.nbytes
    np.testing.assert_allclose(half.values, dense.values, rtol=1e-3, atol=1e-6)
    assert half.half() is half
    assert half == _offsets(half.values)
    sparse = np.zeros((4, 8, 64))
    sparse[2, 3] = 1
    assert _offsets(sparse).nbytes == 4 + 64 * 4
    assert _offsets(np.zeros(SHAPE), reason="no answers").reason == "no answers"


@pytest.mark.parametrize("form", ["dense", "sparse", "half", "zero"])
def test_files_give_the_offsets_back(tmp_path: Path, form: str):
    steered = SteeredModel.of(build())
    offsets = random_offsets(steered, 1, positions="generated")
    if form == "sparse":
        offsets = ActivationOffsets(offsets.values * (np.arange(4) == 2)[:, None], fingerprint=steered.fingerprint)
    elif form == "half":
        offsets = offsets.half()
    elif form == "zero":
        offsets = ActivationOffsets.zero(steered, reason="nothing usable")
    offsets.save_pretrained(tmp_path / "a")
    offsets.save_pretrained(tmp_path / "b")
    for name in ("activation_offsets.safetensors", "activation_offsets.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    back = ActivationOffsets.from_pretrained(tmp_path / "a", steered.model)
    assert (back, back.positions, back.reason, back.nbytes) == (
        offsets,
        offsets.positions,
        offsets.reason,
        offsets.nbytes,
    )
    described = json.loads((tmp_path / "a" / "activation_offsets.json").read_text())
    assert described["fingerprint"] == steered.fingerprint
    assert Geometry(**described["geometry"]) == steered.geometry


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_what_is_saved_has_the_usual_permissions(tmp_path: Path, mask: int, mode: int):
    basis = SteeringBasis(np.ones((1, *SHAPE)), poles=[("humor", 1, "x")], fingerprint="x", limit=1.0)
    before = os.umask(mask)
    try:
        _offsets(np.ones(SHAPE)).save_pretrained(tmp_path / "offsets")
        basis.save_pretrained(tmp_path / "basis")
    finally:
        os.umask(before)
    written = [path for path in tmp_path.glob("*/*") if path.is_file()]
    assert len(written) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {mode}


def test_another_models_offsets_are_refused_with_both_fingerprints(tmp_path: Path):
    one, other = SteeredModel.of(build(seed=0)), SteeredModel.of(build(seed=1))
    random_offsets(one, 1).save_pretrained(tmp_path)
    for target in (other.model, other):
        with pytest.raises(IncompatibleOffsetsError, match=one.fingerprint) as refusal:
            ActivationOffsets.from_pretrained(tmp_path, target)
        assert other.fingerprint in str(refusal.value)
    assert ActivationOffsets.from_pretrained(tmp_path).fingerprint == one.fingerprint


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        ActivationOffsets.from_pretrained(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"activation_offsets\.safetensors"):
        ActivationOffsets.from_pretrained(tmp_path)
    (tmp_path / "activation_offsets.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(IncompatibleOffsetsError, match="cannot be read"):
        ActivationOffsets.from_pretrained(tmp_path)
    from safetensors.numpy import save_file

    save_file({"x": np.ones(2)}, tmp_path / "activation_offsets.safetensors")
    with pytest.raises(IncompatibleOffsetsError, match="does not hold activation offsets"):
        ActivationOffsets.from_pretrained(tmp_path)


def test_the_hub_gets_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uploaded: dict[str, Any] = {}

    class Hub:
        def __init__(self, token: str | None):
            uploaded["token"] = token

        def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool):
            uploaded.update(repo_id=repo_id, private=private)

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
            for file in Path(folder_path).iterdir():
                (tmp_path / file.name).write_bytes(file.read_bytes())
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    offsets = _offsets(np.ones(SHAPE))
    assert offsets.push_to_hub("ada/tilt", private=True, token="t") == "https://hub/ada/tilt/commit/1"
    assert uploaded == {"token": "t", "repo_id": "ada/tilt", "private": True}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name, **_: tmp_path / name)
    assert ActivationOffsets.from_pretrained("ada/tilt") == offsets
    offsets.save_pretrained(tmp_path / "tilt", push_to_hub=True, repo_id="ada/other")
    assert uploaded["repo_id"] == "ada/other"
