"""An integration without its extra says which one to install."""

import importlib
import sys

import pytest

from persona_align.errors import MissingExtraError


@pytest.mark.parametrize(
    ("package", "needed", "extra"),
    [
        ("persona_align_agents", "langchain", "agents"),
        ("persona_align_agents", "langgraph", "agents"),
        ("persona_align_server", "fastapi", "server"),
    ],
)
def test_the_extra_is_named(monkeypatch, package, needed, extra):
    for name in list(sys.modules):
        if name.split(".")[0] in (package, needed):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(MissingExtraError, match=rf"{needed}.*pip install 'persona-align\[{extra}\]'") as told:
        importlib.import_module(package)
    assert isinstance(told.value, ImportError)
