"""Reads a YAML file safely, and keeps the position of every key for error messages.

Tags, anchors and aliases are errors. Size, number of entries and depth are limited. Keys are always text.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rbr.errors import InputError, KeyPath, Location, printable
from rbr.files.text_file import location_after, read_text

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_ENTRIES = 50_000
MAX_SHOWN = 100
MAX_DUPLICATES = 50

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][-+]?[0-9]{1,2})?")


_SYNTAX_HINT = "Check indentation, quotes and brackets near this place; texts with `:` or `#` need quotes."


@dataclass(frozen=True)
class YamlDocument:
    """The content of a YAML file with the position of each key.

    Attributes:
        file: File as the user named it.
        content: Mappings, lists, text, numbers, booleans and None.
        positions: Line and column, from 1, by key path: of each key of a mapping and of each item of a list.
        problems: Duplicate keys. `content` has the last value of a duplicate key.

    Example:
        >>> document = read_yaml("rulebook/behavior.yaml")
        >>> sorted(document.content)
        ['agreement', 'classes', 'derived', 'error_rate', 'metrics', 'response_types']
        >>> document.location(("agreement", "bar")).column
        3
    """

    notation = "YAML"

    file: str
    content: object
    positions: Mapping[KeyPath, tuple[int, int]]
    problems: tuple[InputError, ...] = ()

    def location(self, path: KeyPath) -> Location:
        """Returns the location of a key path, or of its nearest ancestor if the key is absent."""
        present = path
        while present and present not in self.positions:
            present = present[:-1]
        line, column = self.positions.get(present, (1, 1))
        return Location(self.file, line, column, path)

    def as_json(self) -> str:
        """Returns the content as JSON text."""
        return json.dumps(self.content)


def read_yaml(path: str | Path) -> YamlDocument:
    """Reads a YAML file.

    Args:
        path: A regular file of at most 1 MiB of UTF-8 text with one YAML document.

    Returns:
        The document. Duplicate keys raise no error; `problems` lists them.

    Raises:
        InputError: The file cannot be read, is not plain YAML, or has 50 duplicate keys.

    Example:
        >>> read_yaml("profiles/tiny.yaml").content["extends"]
        'sandbox'
    """
    file = str(path)
    text = read_text(path, max_bytes=MAX_BYTES)
    builder = _DocumentBuilder(file)
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_event():
            builder.add(loader.get_event())
    except yaml.reader.ReaderError as error:
        what = f"the character {text[error.position]!r} is not allowed in YAML"
        where = location_after(text[: error.position], file)
        raise InputError(what, where=where, hint="Remove the character.") from error
    except yaml.MarkedYAMLError as error:
        where = _location_of_mark(file, error.problem_mark or error.context_mark, builder.path())
        raise InputError(f"not valid YAML: {error.problem}", where=where, hint=_SYNTAX_HINT) from error
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML raises plain ValueErrors for bad escapes such as "\UFFFFFFFF".
        where = _location_of_mark(file, loader.get_mark() if loader else None, builder.path())
        raise InputError(f"not valid YAML: {_first_line(error)}", where=where, hint=_SYNTAX_HINT) from error
    return YamlDocument(file, builder.root, builder.positions, tuple(builder.problems))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _location_of_mark(file: str, mark: yaml.Mark | None, path: KeyPath) -> Location:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Location(file, line, column, path)


@dataclass
class _OpenCollection:
    """A mapping or list whose end has not been read yet.

    Attributes:
        path: Key path of the collection.
        content: Entries that have been read.
        key: Key whose value comes next; None in a list, and before a key of a mapping.
    """

    path: KeyPath
    content: dict[str, object] | list[object]
    key: str | None = None


@dataclass
class _DocumentBuilder:
    """Builds content and positions from parser events.

    The open collections are on an explicit stack, so deep nesting is an `InputError` and not a `RecursionError`.
    """

    file: str
    root: object = None
    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    problems: list[InputError] = field(default_factory=list)
    _stack: list[_OpenCollection] = field(default_factory=list)
    _documents: int = 0
    _entries: int = 0

    def path(self) -> KeyPath:
        """Returns the key path of the next entry."""
        if not self._stack:
            return ()
        parent = self._stack[-1]
        if isinstance(parent.content, list):
            return (*parent.path, len(parent.content))
        return parent.path if parent.key is None else (*parent.path, parent.key)

    def add(self, event: yaml.Event) -> None:
        """Adds the next parser event.

        Raises:
            InputError: The event is not plain YAML, or a limit is exceeded.
        """
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error(event, "a second YAML document starts here", "Remove the `---` line.")
            case yaml.AliasEvent():
                what = f"aliases such as *{printable(str(event.anchor))} are not supported"
                raise self._error(event, what, "Write out the content.")
            case yaml.ScalarEvent():
                self._reject_anchors_and_tags(event)
                self._add_scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._reject_anchors_and_tags(event)
                self._open_collection(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()

    def _reject_anchors_and_tags(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            what = f"anchors such as &{printable(event.anchor)} are not supported"
            raise self._error(event, what, "Remove the anchor, and write out each copy.")
        if event.tag is not None:
            raise self._error(event, f"tags such as {printable(event.tag)} are not supported", "Remove the tag.")

    def _add_scalar(self, event: yaml.ScalarEvent) -> None:
        if not event.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise self._error(event, "the text has an unpaired surrogate", "Replace the escape by the character.")
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.content, dict) and parent.key is None:
            self._add_key(parent, event)
        else:
            self._attach(event, _resolve(event))

    def _add_key(self, parent: _OpenCollection, event: yaml.ScalarEvent) -> None:
        assert isinstance(parent.content, dict)
        path = (*parent.path, event.value)
        if event.value in parent.content:
            what = f"duplicate key {event.value[:MAX_SHOWN]!r}"
            where = Location(self.file, *_position(event), path)
            hint = f"The key is already in line {self.positions[path][0]}; keep one of the two."
            self.problems.append(InputError(what, where=where, hint=hint))
            if len(self.problems) == MAX_DUPLICATES:
                raise InputError.collect(self.problems)
        else:
            self.positions[path] = _position(event)
        parent.key = event.value

    def _open_collection(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} levels deep", "Flatten the structure.")
        content: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_OpenCollection(self._attach(event, content), content))

    def _attach(self, event: yaml.NodeEvent, value: object) -> KeyPath:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise self._error(event, f"the file has more than {MAX_ENTRIES} entries", "Shorten the file.")
        path = self.path()
        if not self._stack:
            self.root = value
            return path
        parent = self._stack[-1]
        if isinstance(parent.content, list):
            self.positions[path] = _position(event)
            parent.content.append(value)
        elif parent.key is None:
            raise self._error(event, "a key must be text, not a list or a mapping", "Write `name: value` lines.")
        else:
            parent.content[parent.key] = value
            parent.key = None
        return path

    def _error(self, event: yaml.Event, what: str, hint: str) -> InputError:
        return InputError(what, where=Location(self.file, *_position(event), self.path()), hint=hint)


def _position(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _resolve(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
