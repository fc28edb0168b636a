"""The LangChain retriever: LangChain's own suite, and that nobody is served another user's records."""

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests

from persona_align import Comparison, PersonaAligner, Turn
from persona_align.errors import MissingUserError
from persona_align_agents.retriever import PersonaRetriever

SAID = (
    "I never eat anything with nuts, I'm allergic.",
    "I love long train rides through the mountains.",
    "Please keep your answers short.",
    "I can't stand horror films.",
)


@pytest.fixture(scope="module")
def aligner():
    with PersonaAligner.open() as opened:
        opened.record("ada", *(Turn(role="user", text=text) for text in SAID))
        opened.record("ben", Turn(role="user", text="I put peanuts on everything I eat."))
        yield opened


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def shared(self, aligner):
        self.aligner = aligner

    @property
    def retriever_constructor(self):
        return PersonaRetriever

    @property
    def retriever_constructor_params(self):
        return {"aligner": self.aligner, "user_id": "ada"}

    @property
    def retriever_query_example(self):
        return "What can I cook tonight?"


def test_the_record_that_matters_comes_first(aligner):
    found = PersonaRetriever(aligner=aligner, user_id="ada", k=2).invoke("Which snack shall I buy?")
    assert [type(document) for document in found] == [Document, Document]
    assert found[0].page_content == SAID[0]
    assert found[0].metadata["kind"] == "turn"
    assert found[0].metadata["score"] > found[1].metadata["score"]
    assert found[0].id


def test_the_user_of_the_call_is_the_one_served(aligner):
    retriever = PersonaRetriever(aligner=aligner)
    found = retriever.invoke("Which snack shall I buy?", config={"configurable": {"user_id": "ben"}})
    assert [document.page_content for document in found] == ["I put peanuts on everything I eat."]


def test_a_batch_of_two_users_is_never_mixed(aligner):
    retriever = PersonaRetriever(aligner=aligner, k=1)
    configs = [{"configurable": {"user_id": user}} for user in ("ada", "ben", "nobody")]
    found = retriever.batch(["Which snack shall I buy?"] * 3, config=configs)
    assert [[document.page_content for document in each] for each in found] == [
        [SAID[0]],
        ["I put peanuts on everything I eat."],
        [],
    ]


def test_no_user_is_an_error(aligner):
    with pytest.raises(MissingUserError, match="user_id"):
        PersonaRetriever(aligner=aligner).invoke("anything")


async def test_it_is_awaited_too(aligner):
    found = await PersonaRetriever(aligner=aligner, user_id="ada").ainvoke("Which snack shall I buy?")
    assert found[0].page_content == SAID[0]


def test_a_comparison_is_told_as_one_line(aligner):
    aligner.record("cy", Comparison(prompt="Say hello.", chosen="Hi!", rejected="Good day to you, madam."))
    (found,) = PersonaRetriever(aligner=aligner, user_id="cy").invoke("Say good morning.")
    assert "Hi!" in found.page_content
    assert "\n" not in found.page_content.strip()
