"""Run `make backtest` and draw what the terminal shows as terminal.svg, beside this file.

    python docs/pictures/terminal.py
"""

import re
import subprocess
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = "make backtest"
COLUMNS = 118
HEAD, TAIL = 12, 36
"""Lines that are drawn from the beginning and from the end; a line says how many lie between."""

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    done = subprocess.run(COMMAND.split(), cwd=FOLDER.parents[1], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    between = len(lines) - HEAD - TAIL
    if between > 0:
        lines[HEAD:-TAIL] = [f"  ... {between} more lines ..."]
    console = Console(record=True, width=COLUMNS, file=StringIO())
    for line in (f"$ {COMMAND}", *lines):
        console.print(Text(line), no_wrap=True, overflow="ellipsis")
    picture = console.export_svg(title=COMMAND, unique_id="terminal")
    # A picture inside a page loads no fonts: without rich's links to one it is the same, and whole.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    (FOLDER / "terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
