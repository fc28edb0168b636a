"""Files of chat history, as other programs write them, turned into records."""

from persona_align.formats.detect import FORMATS, Source, open_source
from persona_align.formats.document import read_document

__all__ = ["FORMATS", "Source", "open_source", "read_document"]
