"""The description of the API against the API: schemathesis sends what it allows and what it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from persona_align import PersonaAligner
from persona_align.testing import EchoChat, HashEncoder
from persona_align_server import create_app


@pytest.fixture(scope="module")
def description():
    with PersonaAligner.open(encoder=HashEncoder()) as aligner:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(aligner, EchoChat()))


api = schemathesis.pytest.from_fixture("description")


@api.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_keeps_to_its_description(case):
    case.call_and_validate()
