"""Parses JSON text into a document that `validate` can check: a whole file, or one line of a JSON Lines file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from rbr.errors import InputError, KeyPath, Location

_JSON_ERROR = re.compile(r"(?P<what>.*?)(?: at line (?P<line>\d+) column (?P<column>\d+))?")
# Half of a character outside the first 65,536, without its other half. UTF-8 cannot contain it.
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class JsonDocument:
    """A JSON file, or one line of a JSON Lines file.

    Attributes:
        file: File as the user named it.
        line: Line number in a JSON Lines file, from 1; None if the document is a whole file.
        text: The JSON text.
        content: Parsed content.

    Example:
        >>> document = parse_json('{"messages": []}', "prompts.jsonl", line=2, hint="")
        >>> str(document.location(("messages", 0)))
        'prompts.jsonl:2 messages[0]'
    """

    notation = "JSON"
    problems = ()

    file: str
    line: int | None
    text: str
    content: object

    def location(self, path: KeyPath) -> Location:
        """Returns the location of a key path. It has no column, and no line if the document is a whole file."""
        return Location(self.file, self.line, None, path)

    def as_json(self) -> str:
        """Returns the JSON text."""
        return self.text

    def has_any_key(self, *keys: str) -> bool:
        """Returns whether the document is an object with at least one of the keys."""
        return isinstance(self.content, dict) and not self.content.keys().isdisjoint(keys)


def parse_json(text: str, file: str, *, line: int | None = None, hint: str) -> JsonDocument:
    """Parses JSON text.

    Args:
        text: Content of the file, or of the line.
        file: File as the user named it.
        line: Line number in a JSON Lines file, from 1; None if `text` is a whole file.
        hint: Hint if the text is not valid JSON.

    Raises:
        InputError: The text is not valid JSON, or it escapes half of a surrogate pair.

    Example:
        >>> parse_json('{"few_shot": 2}', "reward.json", hint="").content
        {'few_shot': 2}
    """
    try:
        return JsonDocument(file, line, text, from_json(text))
    except ValueError as error:
        what, row, column = str(error), None, None
        if match := _JSON_ERROR.fullmatch(what):
            what, row, column = match.groups()
        if "hex escape" in what and _HALF_ESCAPE.search(text):
            what, hint = "the text has an unpaired surrogate", "Replace the escape by the character."
        elif text.strip() and not text.lstrip().startswith(("{", "[")):
            # The parser would say that it expected an "ident", the first letters of true, false or null.
            begin = "the line does not begin with {" if line else "the text begins with neither { nor ["
            what = f"not valid JSON: {begin}"
        else:
            what = f"not valid JSON: {what}"
        where = Location(file, line or (int(row) if row else None), max(int(column), 1) if column else None)
        raise InputError(what, where=where, hint=hint) from error


def read_json_object(file: Path) -> dict[str, Any]:
    """Returns the content of a file that may be missing or of another form; an empty object then.

    Example:
        >>> read_json_object(Path("no-such-file.json"))
        {}
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
