"""ActivationSearch on a random model: what it captures, what it fits, and what it refuses."""

import numpy as np
import pytest
import torch

from persona_align.errors import IncompatibleOffsetsError
from persona_align.steering.asking import Asked, expected_agreement, question
from persona_align.steering.offsets import ActivationOffsets
from persona_align.steering.optimize import optimise
from persona_align.steering.search import ActivationSearch
from persona_align.steering.statements import capture_statements
from persona_align.steering.steered import SteeredModel
from tests.steering.tiny_chat import tiny_chat

STATEMENTS = [
    "I water my plants on time.",
    "I would rather stay in.",
    "I sing in the kitchen.",
    "I lose my keys.",
    "I plan my week on Sunday.",
    "I talk to strangers.",
    "I keep old letters.",
    "I skip breakfast.",
    "I like long walks.",
    "I finish what I start.",
]
ANSWERS = [5, 1, 4, 2, 5, None, 3, 1, 4, 5]
METHODS = ["search", "linear", "optimize"]


@pytest.fixture(scope="module")
def chat():
    return tiny_chat()


@pytest.fixture(scope="module", params=["all", "last_prompt_onward"])
def search(chat, request):
    return ActivationSearch(*chat, STATEMENTS, keep=4, positions=request.param)


@pytest.fixture(scope="module")
def leaning(search):
    """A person whose answers hang together inside the model: moving it along some of them moves it along the rest."""
    response = np.einsum("hid,hjd->ij", search._gradient, search._probes.difference)
    np.fill_diagonal(response, 0.0)
    return 3 + 2 * np.sign(np.linalg.eigh(response + response.T)[1][:, -1])


def expected(search, offsets=None):
    """The model's expected agreement with every statement, both orders of the letters averaged."""
    values = None if offsets is None else torch.from_numpy(offsets.values.copy())[None]
    with torch.no_grad():
        both = [expected_agreement(asked.logits(values))[0] for asked in search._asked]
    return ((both[0] + both[1]) / 2).double().numpy()


class Started:
    """A ridge that starts the optimisation elsewhere: under another penalty, or at a multiple of its line."""

    def __init__(self, ridge, *, penalty, times=1):
        self.whitened, self._ridge, self._penalty, self._times = ridge.whitened, ridge, penalty, times

    def solve(self, residuals):
        weights, penalties = self._ridge.solve(residuals, penalty=self._penalty)
        return self._times * weights, penalties


class TestAsking:
    @pytest.mark.parametrize("positions", ["all", "last_prompt_onward"])
    def test_many_people_at_once_are_asked_as_if_one_by_one(self, search, positions):
        """Against a plain forward pass over each whole prompt, steered by a plan."""
        steered = search.steered
        tilts = [
            ActivationOffsets(value, fingerprint=steered.fingerprint, positions=positions)
            for value in np.random.default_rng(0).standard_normal((2, *steered.geometry.shape)) / 10
        ]
        asked = Asked(steered, search._asked[0].questions, positions)
        items = [7, 2, 4]
        with torch.no_grad():
            found = asked.logits(torch.stack([torch.from_numpy(tilt.values.copy()) for tilt in tilts]), items)
            for person, tilt in enumerate(tilts):
                for place, item in enumerate(items):
                    one = asked.questions[item]
                    with steered.plan([tilt], prompt_length=len(one.prompt)):
                        whole = steered.model(torch.tensor([one.prompt])).logits[0, -1, list(one.letters)]
                    torch.testing.assert_close(found[person, place], whole, atol=1e-4, rtol=1e-4)

    def test_asking_again_gives_the_same(self, search):
        asked = search._asked[0]
        with torch.no_grad():
            first = asked.logits()
            asked.logits(torch.ones((3, *search.steered.geometry.shape)))
            torch.testing.assert_close(asked.logits(), first, rtol=0, atol=0)

    def test_generated_positions_never_reach_an_answer(self, search):
        with pytest.raises(ValueError, match="generated"):
            Asked(search.steered, [], "generated")

    def test_letters_run_the_other_way_when_reversed(self, chat):
        _, tokenizer = chat
        plain, turned = (question(tokenizer, "I sing.", reverse=reverse) for reverse in (False, True))
        assert plain.letters == turned.letters[::-1]
        assert tokenizer.decode(plain.letters) == "EDCBA"

    def test_a_model_without_a_chat_template_reads_plain_lines(self):
        model, tokenizer = tiny_chat(template=False)
        search = ActivationSearch(model, tokenizer, STATEMENTS[:3])
        assert search.layout == "plain text"
        assert tokenizer.decode(search._asked[0].questions[0].prompt).endswith("\nAssistant: ")


class TestCapture:
    def test_gradients_predict_small_changes(self, search):
        step = np.random.default_rng(0).standard_normal(search.steered.geometry.shape) * 1e-2
        tilt = ActivationOffsets(step, fingerprint=search.steered.fingerprint)
        change = (expected(search, tilt) - expected(search, -tilt)) / 2
        predicted = np.einsum("hid,hd->i", search._gradient, step.reshape(-1, step.shape[-1]))
        np.testing.assert_allclose(predicted, change, atol=2e-3)

    def test_expected_is_the_models_own_answer(self, search):
        np.testing.assert_allclose(search.expected, expected(search), atol=1e-5)

    def test_batches_do_not_matter(self, chat, search):
        other = ActivationSearch(*chat, STATEMENTS, keep=4, batch=3, positions=search.positions)
        np.testing.assert_allclose(other._gradient, search._gradient, atol=1e-5)

    def test_an_interrupted_capture_resumes(self, chat, tmp_path):
        steered, tokenizer = SteeredModel.of(chat[0]), chat[1]

        class StoppedError(Exception):
            pass

        def stop(label, done, total):
            if done == 8:
                raise StoppedError

        with pytest.raises(StoppedError):
            capture_statements(steered, tokenizer, STATEMENTS, cache=tmp_path, batch=4, progress=stop)
        parts = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("part-*.safetensors")}
        assert len(parts) == 2
        resumed = capture_statements(steered, tokenizer, STATEMENTS, cache=tmp_path, batch=4)
        assert all(file.stat().st_mtime_ns == when for file, when in parts.items())
        fresh = capture_statements(steered, tokenizer, STATEMENTS, batch=4)
        np.testing.assert_array_equal(resumed.gradient, fresh.gradient)

    def test_a_cache_of_another_model_is_not_taken(self, chat, tmp_path):
        first = ActivationSearch(*chat, STATEMENTS, cache=tmp_path)
        other = ActivationSearch(*tiny_chat(seed=1), STATEMENTS, cache=tmp_path)
        assert not np.allclose(first.expected, other.expected)
        mine, theirs = sorted(tmp_path.glob("statements-*"))
        swapped = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in (theirs, mine)]
        for folder, files in zip((mine, theirs), swapped, strict=True):
            for name, content in files.items():
                (folder / name).write_bytes(content)
        with pytest.raises(IncompatibleOffsetsError, match="another model"):
            ActivationSearch(*chat, STATEMENTS, cache=tmp_path)

    def test_a_damaged_cache_says_what_to_do(self, chat, tmp_path):
        ActivationSearch(*chat, STATEMENTS, cache=tmp_path)
        next(tmp_path.rglob("part-0000.safetensors")).write_bytes(b"no")
        with pytest.raises(IncompatibleOffsetsError, match="Delete it"):
            ActivationSearch(*chat, STATEMENTS, cache=tmp_path)


class TestFit:
    @pytest.mark.parametrize("method", METHODS)
    def test_moves_the_model_towards_the_person(self, search, leaning, method):
        offsets = search.fit(leaning, method=method)
        moved = expected(search, 0.05 * offsets) - search.expected
        assert not offsets.is_zero
        assert moved @ (leaning - search.expected) > 0

    @pytest.mark.parametrize("method", METHODS)
    def test_repeats_to_the_bit(self, search, method):
        assert search.fit(ANSWERS, method=method, seed=3) == search.fit(ANSWERS, method=method, seed=3)

    @pytest.mark.parametrize("method", METHODS)
    def test_many_people_are_each_fitted_as_if_alone(self, search, method):
        rng = np.random.default_rng(0)
        matrix = rng.integers(1, 6, (5, len(STATEMENTS))).astype(float)
        matrix[2, 4] = np.nan
        together = search.fit_many(matrix, method=method)
        for row, offsets in zip(matrix, together, strict=True):
            alone = search.fit(row, method=method)
            # The steps of `optimize` amplify the rounding of a batched product, by a little more with one thread.
            np.testing.assert_allclose(offsets.values, alone.values, atol=5e-3 * np.abs(alone.values).max())

    def test_search_keeps_k_heads(self, search, leaning):
        offsets = search.fit(leaning, method="search")
        moved = {(layer, head) for layer, head in np.argwhere(offsets.values.any(-1))}
        assert moved == {(layer, head) for layer, head, _ in search.chosen_heads(leaning)}
        assert len(moved) == 4

    def test_optimising_brings_the_model_nearer_than_the_line_does(self, search):
        """Under a weak penalty, where little but the distance counts."""
        answers = np.array([ANSWERS], dtype=float)
        known = ~np.isnan(answers[0])
        weak = Started(search._ridge, penalty=0.5)

        def distance(values):
            offsets = ActivationOffsets(values.reshape(search.steered.geometry.shape), fingerprint="any")
            return float(((answers[0] - expected(search, offsets)) ** 2)[known].sum())

        line = weak.solve(answers - search.expected)[0].astype(np.float32) @ search._ridge.spread
        steps = optimise(search._asked, weak, answers, search.expected)
        assert distance(steps) < distance(line) - 1e-3

    def test_optimising_never_ends_where_it_costs_more(self, search):
        """However wild the line is: a step that does not pay is taken back."""
        answers = np.array([ANSWERS], dtype=float)
        known = ~np.isnan(answers[0])
        wild = Started(search._ridge, penalty=2.0, times=50)

        def cost(values):
            offsets = ActivationOffsets(values.reshape(search.steered.geometry.shape), fingerprint="any")
            missed = float(((answers[0] - expected(search, offsets)) ** 2)[known].sum())
            outwards = search._ridge.whitened()[2]
            coordinates = np.linalg.lstsq(outwards.T, values.reshape(-1), rcond=None)[0]
            return missed / 2 + 2.0 * float(coordinates @ coordinates) / 2

        start = wild.solve(answers - search.expected)[0].astype(np.float32) @ search._ridge.spread
        assert cost(optimise(search._asked, wild, answers, search.expected)) < cost(start)

    def test_nothing_of_the_caller_is_changed(self, search, chat):
        before = {name: value.clone() for name, value in chat[0].state_dict().items()}
        answers = np.array([np.nan if value is None else value for value in ANSWERS])
        kept = answers.copy()
        search.fit(answers, method="optimize")
        np.testing.assert_array_equal(answers, kept)
        assert all(torch.equal(before[name], value) for name, value in chat[0].state_dict().items())
        assert all(parameter.grad is None for parameter in chat[0].parameters())


class TestNothingToFit:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        ("answers", "reason"), [([3] * 10, "neutral"), ([None] * 10, "no statement"), ([float("nan")] * 10, "no")]
    )
    def test_abstains_with_a_reason(self, search, method, answers, reason):
        offsets = search.fit(answers, method=method)
        assert offsets.is_zero
        assert reason in offsets.reason

    def test_one_answer(self, search):
        one = [5] + [None] * 9
        assert search.fit(one, method="search").is_zero
        assert "one answer" in search.fit(one, method="search").reason
        assert not search.fit(one, method="linear").is_zero

    @pytest.mark.parametrize("method", METHODS)
    def test_a_person_who_answers_everything_alike(self, search, method):
        assert np.isfinite(search.fit([5] * 10, method=method).values).all()

    def test_an_abstaining_person_leaves_the_others_alone(self, search):
        together = search.fit_many([[3] * 10, ANSWERS], method="linear")
        assert together[0].is_zero
        assert together[1] == search.fit(ANSWERS, method="linear")


class TestRefused:
    @pytest.mark.parametrize("answers", [[1, 2, 3], [6] + [3] * 9, [0] + [3] * 9, [[5] * 10]])
    def test_answers(self, search, answers):
        with pytest.raises(ValueError, match=r"statement|answers"):
            search.fit(answers)

    def test_a_method_that_does_not_exist(self, search):
        with pytest.raises(ValueError, match="linear"):
            search.fit(ANSWERS, method="magic")

    @pytest.mark.parametrize("statements", [[], [" "], ["I sing.", "i  SING."]])
    def test_statements(self, chat, statements):
        with pytest.raises(ValueError, match="statement"):
            ActivationSearch(*chat, statements)

    def test_one_string_is_not_a_list(self, chat):
        with pytest.raises(TypeError, match="list"):
            ActivationSearch(*chat, "I sing.")


class TestTuneAndStability:
    def test_tuning_only_scales(self, search):
        offsets = search.fit(ANSWERS)
        tuned = search.tune(offsets, ANSWERS, factors=(0.5, 2.0))
        ratio = tuned.norm / offsets.norm
        assert ratio == pytest.approx(0.5, rel=1e-3) or ratio == pytest.approx(2.0, rel=1e-3)

    def test_answers_that_fit_nothing_are_turned_down(self, search):
        """Held-out answers that do not follow from the others choose a strength of zero, or close to it."""
        random = np.random.default_rng(1).integers(1, 6, 10).astype(float)
        offsets = 40 * search.fit(random, method="linear")
        assert search.tune(offsets, random, factors=(0.0, 1.0)).norm <= offsets.norm

    def test_nothing_to_tune(self, search):
        zero = search.fit([3] * 10)
        assert search.tune(zero, [3] * 10) is zero

    def test_stability_is_a_share(self, search):
        found = search.stability(ANSWERS, draws=20)
        assert 0 <= found.jaccard <= 1
        assert found.chosen.shape == search.steered.geometry.shape[:2]
        assert found.chosen.sum() == pytest.approx(search.keep)
        assert search.stability(ANSWERS, draws=20).jaccard == found.jaccard
