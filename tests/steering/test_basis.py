"""SteeringBasis: distilled on a random model, and what of a vector reaches the model."""

import json

import numpy as np
import pytest

from persona_align.conditioning.layouts import preferences_block, with_block
from persona_align.errors import IncompatibleOffsetsError, UnknownDimensionError
from persona_align.preferences import ALIGNX, Dimension, PreferenceSpace, PreferenceVector
from persona_align.steering.basis import SteeringBasis, steerable
from persona_align.steering.strength import FLUENCY_BOUND, FluencyPoint, safe_strength
from persona_align.steering.teacher import ORDINARY_MESSAGES, told
from tests.steering.tiny_chat import tiny_chat

KEYS = ["humor", "conciseness", "honesty"]


@pytest.fixture(scope="module")
def chat():
    return tiny_chat()


@pytest.fixture(scope="module")
def basis(chat):
    return SteeringBasis.fit(*chat, dimensions=KEYS, effort=0.5)


class TestFit:
    def test_steering_replaces_telling_in_part(self, basis):
        learned = basis.fitted["held_out_divergence"]
        assert learned["steered"] < learned["untold"]

    def test_has_only_the_poles_that_may_reach_a_model(self, basis):
        assert basis.dimensions == tuple(KEYS)
        assert ("honesty", -1) not in {(key, sign) for key, sign, _ in basis.poles}

    def test_all_steerable_dimensions_by_default(self):
        blocked = {d.key for d in ALIGNX if not steerable(d)}
        assert {"age_group", "gender", "aggression", "abasement", "food_taste"} <= blocked
        assert "humor" not in blocked

    def test_each_pole_alone_and_several_together_keep_the_bound(self, basis):
        default = [point for point in basis.curve if point["strength"] == 1.0]
        assert [point["poles"] for point in default] == [1.0, 3.0]
        assert all(point["worst"] <= FLUENCY_BOUND for point in default)

    def test_calibrating_again_keeps_the_directions(self, chat, basis):
        loud = SteeringBasis(
            40 * basis.values, poles=basis.poles, fingerprint=basis.fingerprint, limit=1e9, fitted=basis.fitted
        )
        again = loud.recalibrated(*chat, effort=0.25)
        cosines = [
            float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))
            for a, b in zip(again.values, basis.values, strict=True)
        ]
        assert cosines == pytest.approx([1.0] * len(cosines), abs=1e-4)
        assert np.linalg.norm(again.values) < np.linalg.norm(loud.values)
        assert again.limit < 1e9
        default = [point for point in again.curve if point["strength"] == 1.0]
        assert all(point["worst"] <= FLUENCY_BOUND for point in default)

    def test_calibrating_on_another_model_is_refused(self, basis):
        with pytest.raises(IncompatibleOffsetsError, match=basis.fingerprint):
            basis.recalibrated(*tiny_chat(seed=1), effort=0.1)

    def test_same_seed_same_bytes(self, chat, basis):
        again = SteeringBasis.fit(*tiny_chat(), dimensions=KEYS, effort=0.5)
        assert again.values.tobytes() == basis.values.tobytes()
        assert again.limit == basis.limit

    def test_a_space_of_ones_own(self, chat):
        units = Dimension(
            key="units", high="Metric", low="Imperial", high_statements=["a", "b"], low_statements=["c", "d"]
        )
        space = PreferenceSpace(dimensions=(units,))
        basis = SteeringBasis.fit(*chat, space=space, effort=0.1)
        vector = PreferenceVector.of({"units": 1.0}, space=space)
        assert not basis.offsets(vector).is_zero

    def test_leaves_the_model_as_it_was(self, chat, basis):
        fresh = tiny_chat()[0].state_dict()
        assert all(value.equal(fresh[name]) for name, value in chat[0].state_dict().items())
        assert all(parameter.grad is None for parameter in chat[0].parameters())
        assert not chat[0].training

    @pytest.mark.parametrize("key", ["gender", "aggression", "food_taste"])
    def test_refuses_what_never_steers(self, chat, key):
        with pytest.raises(UnknownDimensionError, match=key):
            SteeringBasis.fit(*chat, dimensions=[key])

    def test_refuses_unknown_keys(self, chat):
        with pytest.raises(UnknownDimensionError, match="humor"):
            SteeringBasis.fit(*chat, dimensions=["humour"])

    def test_tells_in_the_words_of_the_prompt(self):
        lines = ["Likes humor (strongly)", "Likes music"]
        assert told(lines, "Hello") == with_block(preferences_block(lines), "Hello")
        assert len(set(ORDINARY_MESSAGES)) == len(ORDINARY_MESSAGES)


class TestOffsets:
    def test_the_other_pole_is_another_direction(self, basis):
        liked = basis.offsets(PreferenceVector.of({"humor": 1.0})).values.ravel()
        disliked = basis.offsets(PreferenceVector.of({"humor": -1.0})).values.ravel()
        assert np.dot(liked, disliked) < 0.9 * np.linalg.norm(liked) * np.linalg.norm(disliked)

    def test_a_weak_reading_moves_less(self, basis):
        full = basis.offsets(PreferenceVector.of({"humor": 1.0}))
        half = basis.offsets(PreferenceVector.of({"humor": 0.8}, confidence=0.5))
        np.testing.assert_allclose(half.values, 0.4 * full.values, rtol=1e-5, atol=1e-8)

    def test_preferences_add_up(self, basis):
        alone = [basis.offsets(PreferenceVector.of({key: 0.2})).values for key in ("humor", "conciseness")]
        both = basis.offsets(PreferenceVector.of({"humor": 0.2, "conciseness": 0.2}))
        np.testing.assert_allclose(both.values, sum(alone), rtol=1e-4, atol=1e-6)

    def test_strength_is_a_factor_and_zero_is_off(self, basis):
        vector = PreferenceVector.of({"humor": 0.7})
        np.testing.assert_allclose(
            basis.offsets(vector, strength=2.0).values, 2 * basis.offsets(vector).values, rtol=1e-5
        )
        off = basis.offsets(vector, strength=0.0)
        assert off.is_zero
        assert off.values.tobytes() == np.zeros_like(off.values).tobytes()

    def test_many_preferences_together_stay_bounded(self, basis):
        everything = PreferenceVector.of(dict.fromkeys(KEYS, 1.0))
        tight = SteeringBasis(basis.values, poles=basis.poles, fingerprint=basis.fingerprint, limit=0.0)
        alone = [basis.offsets(PreferenceVector.of({key: 1.0})) for key in KEYS]
        # However tight the limit, a mean of what each may have alone is left.
        mean = sum(offsets.values for offsets in alone) / len(KEYS)
        np.testing.assert_allclose(tight.offsets(everything).values, mean, rtol=1e-4, atol=1e-6)
        assert tight.offsets(PreferenceVector.of({"humor": 1.0})) == alone[0]
        wide = SteeringBasis(basis.values, poles=basis.poles, fingerprint=basis.fingerprint, limit=1e9)
        np.testing.assert_allclose(wide.offsets(everything).values, len(KEYS) * mean, rtol=1e-4, atol=1e-6)
        between = SteeringBasis(
            basis.values, poles=basis.poles, fingerprint=basis.fingerprint, limit=2 * float(np.linalg.norm(mean))
        )
        assert between.offsets(everything).norm == pytest.approx(between.limit, rel=1e-5)

    def test_the_three_strongest_steer_and_are_named(self):
        keys = ("humor", "conciseness", "order", "play", "openness")
        values = np.eye(5, 8, dtype=np.float32).reshape(5, 1, 2, 4)
        poles = [(key, 1, ALIGNX[key].high) for key in keys]
        five = SteeringBasis(values, poles=poles, fingerprint="any", limit=1e9)
        person = PreferenceVector.of(dict(zip(keys, (0.5, 0.9, 0.4, 0.8, 0.7), strict=True)))
        assert [reading.key for reading in five.steering(person)] == ["conciseness", "play", "openness"]
        moved = five.offsets(person).values.ravel()[:5]
        np.testing.assert_allclose(moved, [0, 0.9, 0, 0.8, 0.7], rtol=1e-6)
        assert five.steering(PreferenceVector.of({"humor": -0.9, "gender": 0.9})) == []

    @pytest.mark.parametrize(
        "vector",
        [
            PreferenceVector.unknown(),
            PreferenceVector.of({"humor": 1.0}, confidence=0.1),
            PreferenceVector.of({"gender": 1.0, "age_group": -1.0}),
            PreferenceVector.of({"food_taste": 1.0}),
            PreferenceVector.of({"aggression": 1.0, "abasement": 1.0}),
            PreferenceVector.of({"honesty": -1.0, "harmlessness": -1.0}),
            PreferenceVector.of({"music": 1.0}),  # steerable, but not in this basis
        ],
    )
    def test_what_must_not_or_cannot_steer_is_exactly_zero(self, basis, vector):
        offsets = basis.offsets(vector)
        assert offsets.is_zero
        assert offsets.reason

    def test_a_basis_never_steers_what_its_space_calls_blocked(self, basis):
        """A space that says a dimension is sensitive is believed, even where the basis knows the dimension."""
        humor = ALIGNX["humor"].model_copy(update={"sensitive": True})
        space = PreferenceSpace(dimensions=(humor,))
        assert basis.offsets(PreferenceVector.of({"humor": 1.0}, space=space)).is_zero

    @pytest.mark.parametrize("strength", [float("nan"), float("inf")])
    def test_a_strength_must_be_finite(self, basis, strength):
        with pytest.raises(ValueError, match="strength"):
            basis.offsets(PreferenceVector.of({"humor": 1.0}), strength=strength)


class TestFiles:
    def test_round_trip(self, basis, chat, tmp_path):
        basis.save_pretrained(tmp_path)
        vector = PreferenceVector.of({"humor": 0.7, "conciseness": -0.5})
        read = SteeringBasis.from_pretrained(tmp_path, chat[0])
        assert read.offsets(vector) == basis.offsets(vector)
        assert (read.curve, read.fitted) == (basis.curve, basis.fitted)

    def test_another_model_is_refused_with_both_fingerprints(self, basis, tmp_path):
        basis.save_pretrained(tmp_path)
        with pytest.raises(IncompatibleOffsetsError, match=basis.fingerprint):
            SteeringBasis.from_pretrained(tmp_path, tiny_chat(seed=1)[0])

    def test_no_basis_there(self, tmp_path):
        with pytest.raises(IncompatibleOffsetsError, match="save_pretrained"):
            SteeringBasis.from_pretrained(tmp_path)

    def test_a_newer_format_is_refused(self, basis, tmp_path):
        basis.save_pretrained(tmp_path)
        card = tmp_path / "steering_basis.json"
        card.write_text(json.dumps({**json.loads(card.read_text()), "format": 99}))
        with pytest.raises(IncompatibleOffsetsError, match="99"):
            SteeringBasis.from_pretrained(tmp_path)

    def test_a_card_that_lacks_something_is_refused_by_name(self, basis, tmp_path):
        basis.save_pretrained(tmp_path)
        card = tmp_path / "steering_basis.json"
        held = json.loads(card.read_text())
        card.write_text(json.dumps({key: value for key, value in held.items() if key != "limit"}))
        with pytest.raises(IncompatibleOffsetsError, match="lacks limit"):
            SteeringBasis.from_pretrained(tmp_path)

    def test_cached(self, chat, tmp_path, monkeypatch):
        assert SteeringBasis.cached(chat[0], tmp_path) is None
        first = SteeringBasis.fit(*chat, dimensions=["humor"], effort=0.1, cache=tmp_path)
        monkeypatch.setattr("persona_align.steering.basis_fit.fit_poles", None)  # must not be called again
        again = SteeringBasis.fit(*chat, dimensions=["humor"], effort=0.1, cache=tmp_path)
        assert again.values.tobytes() == first.values.tobytes()
        assert SteeringBasis.cached(chat[0], tmp_path).dimensions == ("humor",)
        assert SteeringBasis.cached(tiny_chat(seed=1)[0], tmp_path) is None


def test_the_strength_is_where_the_bound_is_met():
    points = [FluencyPoint(0.5, 1.1, 1.0), FluencyPoint(1.0, 1.3, 1.0), FluencyPoint(1.5, 1.7, 1.0)]
    assert safe_strength(points) == pytest.approx(1.25)
    assert safe_strength(points, bound=2.0) == 1.5
    assert safe_strength([FluencyPoint(0.5, float("inf"), 1.0)]) == 0.0
