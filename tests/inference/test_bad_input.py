"""What cannot be read as a statement of its author says nothing: languages, emoji, code, dumps, another's life."""

import pytest

from persona_align.inference import fold
from persona_align.records import Turn

LANGUAGES = {
    "German": "Ich mag kurze Antworten und hasse laute Partys in der Stadt.",
    "French": "Je préfère les réponses courtes et je déteste les fêtes.",
    "Spanish": "Me gusta leer novelas, no me gusta el fútbol.",
    "Italian": "Mi piace la musica jazz e non sopporto le feste.",
    "Portuguese": "Eu adoro música e não gosto de festas.",
    "Dutch": "Ik hou van lange wandelingen in het bos en haat drukte.",
    "Swedish": "Jag älskar att läsa böcker på kvällen.",
    "Polish": "Kocham góry i nie lubię tłumów.",
    "Turkish": "Müzik dinlemeyi çok seviyorum ve kalabalığı sevmem.",
    "Indonesian": "Saya suka membaca buku dan tidak suka keramaian.",
    "Finnish": "Minulla on kissa ja rakastan sitä.",
    "Russian": "Я люблю тихие вечера.",
    "Chinese": "我喜欢安静的夜晚，不喜欢聚会。",
    "Japanese": "私は猫が大好きです。",
    "Arabic": "أحب القراءة كل مساء.",
    "Greek": "Μου αρέσει η μουσική.",
}


@pytest.fixture
def confident(scorer):
    def keys(text):
        turn = Turn(role="user", text=text)
        vector = fold([(turn, scorer.score(turn, scorer.encoder.encode([text])))], scorer.space).vector
        return {reading.key for reading in vector.confident()}

    return keys


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages_than_english_abstain(read, language):
    assert read(LANGUAGES[language]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "🎸🎶😍",
        "?!?!",
        "x",
        "hate",
        "def love(jazz):\n    return hate(parties)\n",
        "SELECT love FROM jazz WHERE hate = 'parties';",
        "Here is the bio of my boss: I love sailing and hate meetings. I am very ambitious and adore expensive cars.",
        "This is my neighbour's profile:\nI love cats. I hate noise. I never go out.\nI am very tidy.",
        "la " * 20_000,
    ],
)
def test_what_is_no_statement_of_the_author_says_nothing(confident, text):
    assert confident(text) == set()


def test_fifty_thousand_words_are_read_only_so_far(confident):
    assert confident("I like short answers. " + "The pump was built in the year before. " * 6_000) <= {"conciseness"}
