"""For mkdocstrings: our docstrings say `Example:`, where griffe only knows `Examples:` as a section of code."""

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^([ \t]*)Example:[ \t]*$", re.MULTILINE)


class Examples(griffe.Extension):
    """Renders what stands under `Example:` as code, not as quotations within quotations."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring:
            obj.docstring.value = _HEADING.sub(r"\1Examples:", obj.docstring.value)
