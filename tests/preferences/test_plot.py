"""The vector as a picture and as a table."""

import sys
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from persona_align.errors import MissingExtraError
from persona_align.preferences import ALIGNX, Dimension, PreferenceVector
from persona_align.preferences.plot import HIGH_COLOUR, LOW_COLOUR

HOSTILE = Dimension(
    key="<img src=x onerror=alert(1)>",
    high="<script>alert('high')</script> & $\\frac{$",
    low='"><b onmouseover="alert(1)">low',
    high_statements=["I like it one way.", "This way, please."],
    low_statements=["I like it the other way.", "That way, please."],
)
VECTOR = PreferenceVector.of({"humor": 0.9, "conciseness": -0.6, "play": 0.2})


@pytest.fixture(autouse=True)
def _no_screen():
    mpl.use("Agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def test_bars_are_the_values_strongest_first():
    ax = VECTOR.plot()
    assert [bar.get_width() for bar in ax.patches] == [0.9, -0.6, 0.2]
    assert [mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [
        HIGH_COLOUR,
        LOW_COLOUR,
        HIGH_COLOUR,
    ]
    assert [text.get_text() for text in ax.texts] == [
        "Likes humor",
        "Detailed communication style",
        "Strong need for Play",
    ]
    ax.figure.canvas.draw()


def test_the_strongest_is_on_top():
    bottom, top = VECTOR.plot().get_ylim()
    assert bottom > top


def test_no_more_bars_than_asked_for():
    assert len(VECTOR.plot(k=2).patches) == 2


def test_axes_of_ones_own_are_used():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert VECTOR.plot(ax) is ax
    assert len(ax.patches) == 3


def test_less_confidence_is_fainter_and_under_the_floor_hollow():
    sure, unsure, unused = (
        PreferenceVector.of({"humor": 0.9}, confidence=confidence).plot().patches[0] for confidence in (0.9, 0.4, 0.1)
    )
    assert sure.get_alpha() > unsure.get_alpha()
    assert unused.get_facecolor()[3] == 0
    assert unused.get_linestyle() == ":"


def test_nothing_known_is_said():
    ax = PreferenceVector.unknown().plot()
    assert [text.get_text() for text in ax.texts] == ["Nothing is known yet."]
    ax.figure.canvas.draw()


def test_a_dollar_sign_is_no_mathematics():
    space = ALIGNX.extend(HOSTILE)
    PreferenceVector.of({HOSTILE.key: 1.0}, space=space).plot().figure.canvas.draw()


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'persona-align\[notebooks\]'"):
        VECTOR.plot()


def test_table_names_poles_values_and_confidences():
    texts = Tags(VECTOR._repr_html_()).texts
    for expected in ("humor", "Likes humor", "+0.90", "Detailed communication style", "-0.60", "1.00"):
        assert expected in texts


def test_table_says_what_is_not_used():
    assert "too low to be used" in PreferenceVector.of({"humor": 0.9}, confidence=0.1)._repr_html_()
    assert "too low to be used" not in VECTOR._repr_html_()


def test_bar_of_the_table_lies_on_the_side_of_its_pole():
    assert "margin-left:50.0%;width:45.0%" in PreferenceVector.of({"humor": 0.9})._repr_html_()
    assert "margin-left:5.0%;width:45.0%" in PreferenceVector.of({"humor": -0.9})._repr_html_()


def test_everything_in_the_table_is_escaped():
    space = ALIGNX.extend(HOSTILE).model_copy(update={"name": "<svg onload=alert(1)>"})
    for value in (1.0, -1.0):
        page = Tags(PreferenceVector.of({HOSTILE.key: value}, space=space)._repr_html_())
        assert set(page.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "div"}
        assert set(page.attributes) <= {"style"}


def test_unknown_vector_is_a_sentence():
    assert Tags(PreferenceVector.unknown()._repr_html_()).texts == ["alignx: something is known of 0 of 90 dimensions."]


def test_the_aligner_tells_nothing_of_its_users():
    from persona_align import PersonaAligner, Turn
    from persona_align.testing import HashEncoder

    with PersonaAligner.open(encoder=HashEncoder(), space=ALIGNX.subset(["humor"])) as aligner:
        aligner.record("ada-lovelace", Turn(role="user", text="I love jokes."))
        shown = aligner._repr_html_()
    assert "ada-lovelace" not in shown
    assert "1 dimensions" in shown
    assert "hash-64" in shown


def test_bars_on_a_dark_ground_are_lighter():
    shown = []
    for text in ("black", "white"):
        with mpl.rc_context({"axes.labelcolor": text}):
            ax = VECTOR.plot()
            shown.append({mpl.colors.to_hex(bar.get_facecolor()) for bar in ax.patches})
    light, dark = shown
    assert light == {HIGH_COLOUR.lower(), LOW_COLOUR.lower()}
    assert not light & dark
    assert min(sum(mpl.colors.to_rgb(colour)) for colour in dark) > max(sum(mpl.colors.to_rgb(c)) for c in light)
