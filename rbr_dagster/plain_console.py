"""The console of all commands: it prints text as it is.

Replies, prompts, paths and the words of a server may contain ``[/INST]`` or ``:smile:``. Rich would read the first as
markup and the second as an emoji. A view that wants a style says so with `rich.text.Text`.
"""

import sys
from typing import Any

from rich.console import Console

PIPED_WIDTH = 140
"""Width of tables, in characters, if the output is not a terminal. Rich assumes 80, which is too narrow."""


def plain_console(**options: Any) -> Console:
    """Returns a console that reads no markup and no emoji codes in text, and highlights nothing.

    Args:
        options: Further arguments of `rich.console.Console`. The width of a pipe is `PIPED_WIDTH` by default.

    Example:
        >>> plain_console(file=sys.stdout, width=40).print("bad [/INST] token :smile:")
        bad [/INST] token :smile:
    """
    stream = options.get("file") or (sys.stderr if options.get("stderr") else sys.stdout)
    if not stream.isatty():
        options = {"width": PIPED_WIDTH, **options}
    return Console(**{"markup": False, "emoji": False, "highlight": False, **options})
