"""The description of the API against the API: schemathesis sends what it allows and what it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from persona_align import PersonaAligner
from persona_align.testing import EchoChat, HashEncoder
from persona_align_server import Keys, create_app

FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def description():
    with PersonaAligner.open(encoder=HashEncoder()) as aligner:
        yield schemathesis.openapi.from_asgi(
            "/openapi.json", create_app(aligner, EchoChat(), keys=Keys({"service-key": "*"}))
        )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_the_api_keeps_to_its_description(description, mode):
    asked = set()

    def check(operation):
        @FEW
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case):
            # What a schema cannot say may be refused: a service must name the user, a tool's message its call.
            case.call_and_validate(
                headers={"Authorization": "Bearer service-key"}, excluded_checks=[positive_data_acceptance]
            )

        run()

    for found in description.get_all_operations():
        operation = found.ok()
        asked.add(f"{operation.method.upper()} {operation.path}")
        if mode is GenerationMode.POSITIVE or operation.method != "get" or "{" in operation.path:
            check(operation)
    assert {"POST /v1/chat/completions", "POST /users/{user_id}/feedback", "GET /health"} <= asked
