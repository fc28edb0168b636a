"""Taste: exact against a naive posterior, honest when it knows nothing, and right on our own registers."""

import numpy as np
import pytest

from persona_align.encoder import Encoding, open_encoder
from persona_align.inference.style_space import StyleSpace, open_style_space, plain_style_space, style_features
from persona_align.inference.taste import PROMPT_DRIFT, Taste, comparison_numbers

PAIRS = (
    (
        "Explain rust.",
        "Rust is when metal gets old and brown because of water!",
        "Rust is the product of an electrochemical oxidation of iron in the presence of moisture.",
    ),
    (
        "What is a cloud?",
        "A cloud is lots of tiny drops of water that float in the sky.",
        "A cloud is a visible aerosol of condensed hydrometeors suspended in the troposphere.",
    ),
    (
        "What is a bank?",
        "A bank keeps your money safe, like a big piggy bank!",
        "A bank is a financial intermediary that engages in maturity transformation and the provision of liquidity.",
    ),
)
SIMPLE = "The heart is a muscle that pushes the blood all around you."
LEARNED = "The heart is a muscular organ effecting the circulation of blood through rhythmic contraction."


@pytest.fixture(scope="module")
def encoder():
    return open_encoder()


@pytest.fixture(scope="module")
def numbers(encoder):
    encodings = encoder.encode([text for pair in PAIRS for text in pair])
    return [comparison_numbers(*encodings[3 * i : 3 * i + 3]) for i in range(len(PAIRS))]


def flipped(numbers):
    return [{**each, "style_difference": -each["style_difference"]} for each in numbers]


@pytest.fixture(scope="module")
def replies(encoder):
    return encoder.encode([LEARNED, SIMPLE])


@pytest.fixture(scope="module")
def prompt(encoder):
    return encoder.encode(["What is the heart?"])[0]


@pytest.mark.parametrize("given", [1, 2, 3])
def test_a_few_comparisons_rank_an_unseen_pair(encoder, numbers, prompt, replies, given):
    learned, simple = Taste.fit(numbers[:given], encoder=encoder).scores(prompt, replies)
    assert simple > 0 > learned
    assert learned == pytest.approx(-simple)


def test_the_opposite_choices_give_the_opposite_ranking(encoder, numbers, prompt, replies):
    own = Taste.fit(numbers, encoder=encoder).scores(prompt, replies)
    opposite = Taste.fit(flipped(numbers), encoder=encoder).scores(prompt, replies)
    assert opposite == pytest.approx(-own, abs=1e-3)


def test_more_comparisons_make_it_surer(encoder, numbers, prompt, replies):
    odds = [Taste.fit(numbers[:n], encoder=encoder).scores(prompt, replies)[1] for n in (1, 3)]
    assert odds[1] > odds[0]
    variances = [Taste.fit(numbers[:n], encoder=encoder).posterior()[1] for n in (0, 1, 3)]
    assert (variances[0] >= variances[1]).all()
    assert (variances[1] >= variances[2]).all()


def test_it_abstains_when_it_knows_nothing(encoder, numbers, prompt, replies):
    nobody = Taste.fit([], encoder=encoder)
    assert nobody.abstains
    assert nobody.scores(prompt, replies).tolist() == [0.0, 0.0]
    undecided = Taste.fit([numbers[0], flipped(numbers)[0]], encoder=encoder)
    assert undecided.scores(None, replies).tolist() == [0.0, 0.0]


def test_equal_and_single_candidates_are_not_told_apart(encoder, numbers, prompt, replies):
    taste = Taste.fit(numbers, encoder=encoder)
    assert taste.scores(prompt, [replies[0], replies[0]]).tolist() == [0.0, 0.0]
    assert taste.scores(prompt, replies[:1]).tolist() == [0.0]
    assert taste.scores(prompt, []).shape == (0,)


def test_a_comparison_of_one_reply_with_itself_says_nothing(encoder, replies):
    same = comparison_numbers(None, replies[0], replies[0])
    assert Taste.fit([same], encoder=encoder).abstains


def test_what_memory_keeps_is_small_and_finite(numbers):
    assert set(numbers[0]) == {"style_difference", "prompt_content"}
    assert sum(array.nbytes for array in numbers[0].values()) < 6_000
    assert all(np.isfinite(array).all() for array in numbers[0].values())


def test_nothing_that_is_passed_in_is_changed(encoder, numbers, prompt, replies):
    before = [{name: array.copy() for name, array in each.items()} for each in numbers]
    style = replies[0].style.copy()
    Taste.fit(numbers, encoder=encoder).scores(prompt, replies)
    assert all((each[name] == old[name]).all() for each, old in zip(numbers, before, strict=True) for name in old)
    assert (replies[0].style == style).all()


def test_the_shipped_space_belongs_to_the_bundled_encoder(encoder):
    space = open_style_space(encoder)
    assert space.fingerprint == encoder.fingerprint
    assert space.basis.shape == (64, len(style_features(encoder.encode(["Hello"])[0])))
    assert (space.signal >= 0).all()
    assert space.signal[:7].min() > space.signal[7:].max()


# A space and encodings small enough to check by hand


class Tiny:
    """An encoder of which only the fingerprint is read."""

    fingerprint = "tiny"
    dimension = 3

    def encode(self, texts):
        return [reply(len(text)) for text in texts]


def reply(seed: int, content: tuple[float, ...] = (1.0, 0.0, 0.0)) -> Encoding:
    rng = np.random.default_rng(seed)
    return Encoding(
        content=np.array(content, np.float32),
        style=rng.normal(size=6).astype(np.float32),
        sentences=("A sentence.",),
        sentence_content=np.zeros((1, 3), np.float32),
        sentence_layers=np.zeros((1, 7, 3), np.float32),
    )


@pytest.fixture
def tiny_space():
    rng = np.random.default_rng(7)
    return StyleSpace(
        fingerprint="tiny",
        basis=rng.normal(size=(4, len(style_features(reply(0))))).astype(np.float32),
        signal=np.array([3.0, 1.0, 0.2, 0.0], np.float32),
    )


def test_the_posterior_is_that_of_the_naive_formula(tiny_space):
    near, far = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    pairs = [(reply(1, near), reply(2), reply(3)), (reply(4, far), reply(5), reply(6))]
    taste = Taste.fit([comparison_numbers(*pair) for pair in pairs], encoder=Tiny(), space=tiny_space)
    mean, variance = taste.posterior(np.array(near, np.float32))
    noise = np.diag(np.repeat([1.0, 1.0 + 2 * PROMPT_DRIFT], 4))  # the second comparison is about something else
    seen = np.concatenate([tiny_space.basis @ (style_features(a) - style_features(b)) for _, a, b in pairs])
    stacked = np.vstack([np.eye(4), np.eye(4)])
    prior = np.diag(tiny_space.signal.astype(float))
    gain = prior @ stacked.T @ np.linalg.inv(stacked @ prior @ stacked.T + noise)
    assert mean == pytest.approx(gain @ seen, abs=0.02)  # the kept difference has half precision
    assert variance == pytest.approx(np.diag(prior - gain @ stacked @ prior), abs=1e-5)


def test_a_score_is_the_log_odds_of_the_predictive_density(tiny_space):
    taste = Taste.fit([comparison_numbers(None, reply(2), reply(3))], encoder=Tiny(), space=tiny_space)
    candidates = [reply(8), reply(9)]
    mean, variance = taste.posterior()
    shift = tiny_space.basis @ (style_features(candidates[0]) - style_features(candidates[1]))

    def log_density(x):
        return -0.5 * ((x - mean) ** 2 / (1 + variance)).sum()

    first, second = taste.scores(None, candidates)
    assert first - second == pytest.approx(log_density(shift) - log_density(-shift), rel=1e-4)


def test_numbers_of_another_encoder_are_left_out(tiny_space):
    other = {"style_difference": np.ones(5, np.float16), "prompt_content": np.zeros(3, np.float16)}
    assert Taste.fit([other, {}], encoder=Tiny(), space=tiny_space).abstains


def test_an_encoder_without_a_shipped_space_gets_a_plain_one_that_works():
    class Wordy(Tiny):
        fingerprint = "wordy"

        def encode(self, texts):
            return [
                Encoding(
                    content=np.array([1.0, 0, 0], np.float32),
                    style=np.array([len(text), text.count("e"), 1.0], np.float32),
                    sentences=(text,),
                    sentence_content=np.zeros((1, 3), np.float32),
                    sentence_layers=np.zeros((1, 7, 3), np.float32),
                )
                for text in texts
            ]

    encoder = Wordy()
    space = open_style_space(encoder)
    assert space is open_style_space(encoder)
    assert len(space.signal) > 0
    brief, wordy, short, long = encoder.encode(
        ["Yes.", "Yes, of course, with pleasure.", "No.", "No, I fear not today."]
    )
    ranked = Taste.fit([comparison_numbers(None, brief, wordy)], encoder=encoder).scores(None, [long, short])
    assert ranked[1] > ranked[0]


def test_too_few_sentences_give_a_space_in_which_taste_abstains():
    space = plain_style_space(Tiny(), ["One.", "Two."])
    taste = Taste.fit([comparison_numbers(None, reply(1), reply(2))], encoder=Tiny(), space=space)
    assert taste.abstains
    assert taste.scores(None, [reply(1), reply(2)]).tolist() == [0.0, 0.0]


def test_a_space_survives_being_saved(tiny_space, tmp_path):
    tiny_space.save(tmp_path / "space.safetensors")
    loaded = StyleSpace.load(tmp_path / "space.safetensors")
    assert loaded.fingerprint == "tiny"
    assert loaded.basis == pytest.approx(tiny_space.basis, rel=1e-3)
    assert (loaded.signal == tiny_space.signal).all()
    assert loaded.version == StyleSpace.load(tmp_path / "space.safetensors").version
