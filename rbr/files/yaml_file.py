"""Safe reading of one YAML file, remembering the place of every key so that errors can point at it.

Only plain data is read: no tags, anchors or aliases; size, number of entries and nesting are bounded. Keys are
always text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rbr.errors import InputError, Location

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_ENTRIES = 50_000
MAX_SHOWN = 100
MAX_PROBLEMS = 50

KeyPath = tuple[str | int, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][-+]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Document:
    """The content of a YAML file with the places of its keys.

    Attributes:
        file: The file as the user named it.
        content: Mappings, lists, text, numbers, booleans and None.
        places: Line and column (from 1) per key path; of the key in a mapping, of the item in a list.
        problems: Keys that are there twice, of which the last one counts in `content`.
    """

    file: str
    content: object
    places: Mapping[KeyPath, tuple[int, int]]
    problems: tuple[InputError, ...] = ()

    def where(self, path: KeyPath) -> Location:
        """The place of a key path; of its nearest ancestor if it is absent."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Location(self.file, line, column, spell(path))


def spell(path: KeyPath) -> str:
    """A key path in words: ``("slots", 0, "label")`` is ``slots[0].label``."""
    spelled = ""
    for key in path:
        spelled += f"[{key}]" if isinstance(key, int) else f".{_legible(key)}" if spelled else _legible(key)
    return spelled


def _legible(key: str) -> str:
    return key if key.isprintable() and len(key) <= MAX_SHOWN else repr(key[:MAX_SHOWN])


def read_document(path: str | Path) -> Document:
    """Reads a YAML file.

    Args:
        path: A regular file of at most 1 MiB of UTF-8 text, holding one YAML document.

    Raises:
        InputError: The file cannot be read or is no plain YAML; duplicate keys are all named.
    """
    document = scan_document(path)
    if document.problems:
        raise InputError.collect(document.problems)
    return document


def scan_document(path: str | Path) -> Document:
    """Reads a YAML file as `read_document` does, but leaves duplicate keys to the document's `problems`.

    Raises:
        InputError: The file cannot be read or is no plain YAML.
    """
    file = str(path)
    text = _read_text(Path(path), file)
    builder = _Builder(file)
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_event():
            builder.take(loader.get_event())
    except yaml.reader.ReaderError as error:
        what = f"the character {text[error.position]!r} must not be in YAML"
        raise InputError(what, where=_after(text[: error.position], file), hint="Remove it.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _marked(file, mark, builder.path())
        raise InputError(f"not valid YAML: {error.problem}", where=where, hint=_SYNTAX_MEND) from error
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets plain ValueErrors out on bad escapes such as "\UFFFFFFFF".
        where = _marked(file, loader.get_mark() if loader else None, builder.path())
        raise InputError(f"not valid YAML: {_first_line(error)}", where=where, hint=_SYNTAX_MEND) from error
    return Document(file, builder.root, builder.places, tuple(builder.problems))


_SYNTAX_MEND = "Check indentation, quotes and brackets near this place; texts with `:` or `#` need quotes."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _marked(file: str, mark: yaml.Mark | None, path: KeyPath) -> Location:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Location(file, line, column, spell(path))


def _after(text: str, file: str) -> Location:
    return Location(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


def _read_text(path: Path, file: str) -> str:
    data = _read_bytes(path, file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _after(data[: error.start].decode("utf-8-sig"), file)
        raise InputError("the text is not UTF-8", where=where, hint="Save the file as UTF-8.") from error


def _read_bytes(path: Path, file: str) -> bytes:
    try:
        # Anything but a regular file (a pipe, a device) could block or never end.
        if not path.is_file():
            raise InputError("there is no such file", where=Location(file), hint="Check the path, or create the file.")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise InputError(what, where=Location(file), hint="Check its permissions.") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"the file is larger than {MAX_BYTES} bytes", where=Location(file), hint="Shorten it.")
    return data


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    path: KeyPath
    content: dict[str, object] | list[object]
    key: str | None = None


@dataclass
class _Builder:
    """Builds content and places from parser events; its own stack bounds the depth before Python's does."""

    file: str
    root: object = None
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    problems: list[InputError] = field(default_factory=list)
    _stack: list[_Open] = field(default_factory=list)
    _documents: int = 0
    _entries: int = 0

    def path(self) -> KeyPath:
        """Where the next entry goes."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.content, list):
            return (*frame.path, len(frame.content))
        return frame.path if frame.key is None else (*frame.path, frame.key)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error(event, "a second YAML document starts here", "Remove the `---` line.")
            case yaml.AliasEvent():
                what = f"aliases such as *{_legible(str(event.anchor))} are not read"
                raise self._error(event, what, "Write the content out.")
            case yaml.ScalarEvent():
                self._refuse_decorations(event)
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._refuse_decorations(event)
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()

    def _refuse_decorations(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            what = f"anchors such as &{_legible(event.anchor)} are not read"
            raise self._error(event, what, "Remove it, and write copies out.")
        if event.tag is not None:
            raise self._error(event, f"tags such as {_legible(event.tag)} are not read", "Remove it.")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if not event.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise self._error(event, "the text holds half of a surrogate pair", "Write the character itself.")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.content, dict) and frame.key is None:
            self._key(frame, event)
        else:
            self._attach(event, _resolve(event))

    def _key(self, frame: _Open, event: yaml.ScalarEvent) -> None:
        assert isinstance(frame.content, dict)
        path = (*frame.path, event.value)
        if event.value in frame.content:
            first = self.places[path][0]
            hint = f"It is already in line {first}; keep one of the two."
            what = f"the key {event.value[:MAX_SHOWN]!r} is there twice"
            self.problems.append(InputError(what, where=Location(self.file, *_place(event), spell(path)), hint=hint))
            if len(self.problems) == MAX_PROBLEMS:
                raise InputError.collect(self.problems)
        else:
            self.places[path] = _place(event)
        frame.key = event.value

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep", "Flatten the structure.")
        content: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(self._attach(event, content), content))

    def _attach(self, event: yaml.NodeEvent, value: object) -> KeyPath:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise self._error(event, f"the file has more than {MAX_ENTRIES} entries", "Shorten it.")
        path = self.path()
        if not self._stack:
            self.root = value
            return path
        frame = self._stack[-1]
        if isinstance(frame.content, list):
            self.places[path] = _place(event)
            frame.content.append(value)
        elif frame.key is None:
            raise self._error(event, "a key must be text", "Write `name: value` lines.")
        else:
            frame.content[frame.key] = value
            frame.key = None
        return path

    def _error(self, event: yaml.Event, what: str, hint: str) -> InputError:
        return InputError(what, where=Location(self.file, *_place(event), spell(self.path())), hint=hint)


def _place(event: yaml.Event) -> tuple[int, int]:
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
