"""Every public name has a docstring, with its methods, and stands in the reference."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = (
    "persona_align",
    "persona_align.errors",
    "persona_align.testing",
    "persona_align.demo",
    "persona_align.steering",
    "persona_align.preferences",
    "persona_align.conditioning",
    "persona_align.formats",
    "persona_align.memory",
    "persona_align.inference",
    "persona_align.models",
    "persona_align_agents",
    "persona_align_server",
)
IN_REFERENCE = ("persona_align", "persona_align_agents", "persona_align_server")


def public(module):
    """Names with what they stand for: everything in `__all__`, and what classes of ours offer."""
    here = import_module(module)
    for name in here.__all__:
        value = getattr(here, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield f"{module}.{name}", value
        if inspect.isclass(value):
            for member, own in vars(value).items():
                if member.startswith("_") or inspect.isclass(own):
                    continue
                routine = own.__func__ if isinstance(own, classmethod | staticmethod) else own
                if inspect.isfunction(routine) or isinstance(routine, property):
                    yield f"{module}.{name}.{member}", routine


def inherited(name):
    """Whether it is a method that a base class documents, as `invoke` of LangChain's runnables."""
    owner, _, member = name.rpartition(".")
    module, _, name_of_class = owner.rpartition(".")
    cls = getattr(import_module(module), name_of_class, None) if module else None
    return inspect.isclass(cls) and any(getattr(getattr(base, member, None), "__doc__", None) for base in cls.__mro__)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module):
    found = dict(public(module))
    assert found
    bare = [
        name
        for name, value in found.items()
        if not (value.__doc__ or "").strip()
        and not (name.count(".") > module.count(".") + 1 and inherited(value, name))
    ]
    assert bare == []


@pytest.mark.parametrize("module", IN_REFERENCE)
def test_every_exported_name_is_in_the_reference(module):
    shown = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    ends = {name.rpartition(".")[2] for name in shown} | {"ALIGNX" for name in shown if name.endswith(".alignx")}
    assert set(import_module(module).__all__) - ends == set()


def test_what_the_reference_shows_exists():
    shown = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    for name in shown:
        home, _, last = name.rpartition(".")
        try:
            assert hasattr(import_module(home), last), name
        except AssertionError:
            import_module(name)  # a whole module
