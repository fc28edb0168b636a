"""The README's picture: what `persona-align demo` prints. Run: python docs/picture.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 110


def main() -> None:
    settings = {**os.environ, "COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-c", "from persona_align.cli import main; main()", "demo"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=settings).stdout
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.from_ansi(told))
        drawn = console.export_svg(title="persona-align demo")
    alone = re.sub(r"@font-face \{.*?\n    \}", "", drawn, flags=re.DOTALL)  # no font from somebody's server
    (Path(__file__).parent / "images" / "demo.svg").write_text(alone, encoding="utf-8")


if __name__ == "__main__":
    main()
