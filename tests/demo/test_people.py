import numpy as np
import pytest

from persona_align import demo
from persona_align.demo.corpus.encoding import Encoder
from persona_align.demo.corpus.people import Population, calibration_people, evaluated_people
from persona_align.demo.corpus.sheets import sheets
from persona_align.demo.corpus.statements import FACETS, read_answers, read_statements
from persona_align.errors import PersonaAlignError

OURS = read_statements()
USUAL = Population.usual(OURS)


def test_our_own_statements_cover_every_facet_both_ways():
    assert len(OURS) >= 120
    assert {(s.facet, s.sign) for s in OURS} == {(facet, sign) for facet in FACETS for sign in (1, -1)}
    assert len({s.text for s in OURS}) == len(OURS)


def test_an_answer_moves_the_belief_as_counting_people_does():
    """Against brute force: among many drawn people, those who gave this answer are counted."""
    rng = np.random.default_rng(0)
    _, agreement = USUAL.draw(200_000, rng)
    first, second = 0, 60  # two statements on one facet, of opposite sign
    assert OURS[first].facet == OURS[second].facet
    beliefs = USUAL.beliefs(1)
    beliefs.answer(np.array([first]), np.array([5]))
    ideal = beliefs.probabilities(np.array([second]))[0]
    same = agreement[agreement[:, first] == 5][:, second]
    counted = np.bincount(same, minlength=6)[1:] / len(same)
    assert np.abs(ideal - counted).max() < 0.05
    unconditioned = USUAL.beliefs(1).probabilities(np.array([second]))[0]
    assert np.abs(unconditioned - counted).max() > 0.1


def test_being_told_a_level_moves_the_belief_as_counting_people_does():
    rng = np.random.default_rng(1)
    latent, agreement = USUAL.draw(200_000, rng)
    levels = USUAL.levels(latent)
    assert np.allclose(np.bincount(levels[:, 0]) / len(levels), 0.2, atol=0.01)
    chosen = (levels[:, 4] == 4) & (levels[:, 2] == 0)
    beliefs = USUAL.beliefs(1)
    beliefs.tell(np.array([[2, 2, 0, 2, 4]]), np.array([True]))
    anxious = next(i for i, s in enumerate(OURS) if s.facet == "N1" and s.sign == 1)
    counted = np.bincount(agreement[chosen][:, anxious], minlength=6)[1:] / chosen.sum()
    assert np.abs(beliefs.probabilities(np.array([anxious]))[0] - counted).max() < 0.06


def test_those_who_are_not_told_stay_as_they_were():
    beliefs = USUAL.beliefs(2)
    beliefs.tell(np.array([[4] * 5, [4] * 5]), np.array([True, False]))
    assert np.allclose(beliefs.mean[1], 0)
    assert np.abs(beliefs.mean[0]).max() > 0.5


def test_calibration_recovers_the_population_that_answered():
    rng = np.random.default_rng(2)
    _, agreement = USUAL.draw(2000, rng)
    found = Population.calibrated(OURS, USUAL.agreement(agreement).tolist())
    assert np.abs(found.means - USUAL.means).max() < 0.2
    assert abs(np.sqrt(found.covariance[30, 30]) - 0.2) < 0.07
    own = [FACETS.index(s.facet) for s in OURS]
    assert found.loadings[np.arange(len(OURS)), own].min() > 0.4


def test_the_people_are_split_once_and_never_shared():
    assert sorted([*calibration_people(150), *evaluated_people(150)]) == list(range(150))
    assert len(calibration_people(150)) == 75
    assert calibration_people(150) == calibration_people(150)


def test_sheets_say_what_the_ideal_reader_expects_at_each_letter():
    _, tokenizer = demo.load()
    encoder = Encoder(tokenizer)
    for sheet in sheets(USUAL, OURS, people=6, length=7, rng=np.random.default_rng(3)):
        lesson = encoder.sheet(sheet)
        assert lesson.ids == tokenizer.apply_chat_template(list(sheet.messages), tokenize=True, return_dict=False)
        letters = [message["content"] for message in sheet.messages if message["role"] == "assistant"]
        assert [tokenizer.decode([lesson.ids[place + 1]]) for place in lesson.answers] == letters
        assert sheet.letters.shape == (7, 5)
        assert np.allclose(sheet.letters.sum(axis=1), 1, atol=1e-6)


def test_over_both_letter_orders_no_letter_stands_for_agreement():
    found = sheets(USUAL, OURS, people=400, length=10, rng=np.random.default_rng(4))
    mean = np.mean([sheet.letters for sheet in found], axis=(0, 1))
    assert np.abs(mean - mean[::-1]).max() < 0.02


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("item,sign,text\n1,+,Hum.\n", "facet_key"),
        ("number,sign,facet_key,text\n1,+,N1,Hum.\n", "item"),
        ("item,sign,facet_key,text\n1,+,N1,Hum.\n2,?,N1,Hum.\n", "line 3: sign is '?'"),
        ("item,sign,facet_key,text\n1,+,X9,Hum.\n", "line 2: facet_key is 'X9'"),
        ("item,sign,facet_key,text\n1,+,N1,\n", "line 2: item or text is empty"),
    ],
)
def test_a_statements_file_with_wrong_columns_is_refused_saying_which(tmp_path, text, named):
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(PersonaAlignError, match=named.replace("?", r"\?")):
        read_statements(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(PersonaAlignError, match=r"nowhere\.csv cannot be read"):
        read_statements(tmp_path / "nowhere.csv")


def test_an_answers_file_that_lacks_columns_is_refused(tmp_path):
    path = tmp_path / "subjects.csv"
    path.write_text("i1,i3\n1,2\n")
    with pytest.raises(PersonaAlignError, match="the first is i2"):
        read_answers(path, OURS[:3])
