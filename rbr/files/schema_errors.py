"""Checks the content of a file against a pydantic model, and translates pydantic's errors for the user.

Rulebook files, profiles and data files all go through `validate`, so no other module translates pydantic's errors.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from rbr.errors import InputError, KeyPath, Location, nearest_spelling, printable
from rbr.files.schema_lookup import known_keys, schema_at

Model = TypeVar("Model", bound=BaseModel)

# Expected type, by pydantic's error type.
_EXPECTED = {
    "string_type": "text",
    "bool_type": "a truth value",
    "bool_parsing": "a truth value",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
# By notation and type: how an error names the type, and the hint.
_WORDS = {
    "YAML": {
        "text": ("text", "Write text; put quotes around words such as yes, no or 12."),
        "a truth value": ("yes or no", "Write `yes` or `no`."),
        "a whole number": ("a whole number", "Write a whole number such as 3."),
        "a number": ("a number", "Write a number such as 0.7."),
        "a mapping": ("a mapping", "Write indented `name: value` lines."),
        "a list": ("a list", "Write a list: `[one, two]` or lines that begin with `- `."),
        "nothing": ("nothing", ""),
    },
    "JSON": {
        "text": ("text", "Write text in double quotes."),
        "a truth value": ("true or false", "Write `true` or `false`."),
        "a whole number": ("a whole number", "Write a whole number such as 3."),
        "a number": ("a number", "Write a number such as 0.7."),
        "a mapping": ("an object", 'Write an object: `{"name": ...}`.'),
        "a list": ("a list", "Write a list: `[...]`."),
        "nothing": ("null", ""),
    },
}
_TYPES: dict[type, str] = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    type(None): "nothing",
}
# Text by the name of a pydantic constraint.
_LIMITS = {
    "ge": "at least {}",
    "gt": "greater than {}",
    "le": "at most {}",
    "lt": "less than {}",
}


class SourceDocument(Protocol):
    """Content of a file, with the location of each entry.

    Attributes:
        notation: ``YAML`` or ``JSON``. Error messages use the terms of this notation.
        content: Mappings, lists, text, numbers, booleans and None.
        problems: Problems that reading the file has found, such as duplicate keys.

    Example:
        >>> from rbr.files.yaml_file import read_yaml
        >>> document: SourceDocument = read_yaml("profiles/tiny.yaml")
        >>> document.notation
        'YAML'
    """

    @property
    def notation(self) -> str: ...

    @property
    def content(self) -> object: ...

    @property
    def problems(self) -> Sequence[InputError]: ...

    def location(self, path: KeyPath) -> Location:
        """Returns the location of a key path, or of its nearest ancestor if the key is absent."""

    def as_json(self) -> str:
        """Returns the content as JSON text."""


def validate(model: type[Model], document: SourceDocument, *, hint_if_missing: str = "Add `{key}:`.") -> Model:
    """Checks the content of a document against a model.

    Args:
        model: Schema of the content.
        document: Content of a file.
        hint_if_missing: Hint for a missing key; ``{key}`` stands for the key.

    Returns:
        The content as a `model`.

    Raises:
        InputError: All problems of the content, each with file, line and key, in the order of the lines.

    Example:
        >>> from rbr.files.yaml_file import read_yaml
        >>> from rbr.rulebook import Synthesis
        >>> len(validate(Synthesis, read_yaml("rulebook/synthesis.yaml")))
        4
    """
    problems = list(document.problems)
    checked: Model | None = None
    if document.content is None and document.notation == "YAML":
        where = document.location(())
        problems.append(InputError("the file is empty", where=where, hint="Write the content, or restore the file."))
    else:
        try:
            # In JSON mode, strict models also accept a list as a tuple.
            checked = model.model_validate_json(document.as_json())
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems += _Translator(model, document, hint_if_missing).problems(details)
    if checked is None or problems:
        raise InputError.collect(sorted_by_line(problems))
    return checked


def schema_problem(what: str, hint: str, *, at: KeyPath = (), sibling: str = "") -> PydanticCustomError:
    """Returns an error that a pydantic validator can raise. `validate` turns it into an `InputError`.

    Args:
        what: What is wrong, in one sentence.
        hint: What the user can do about the problem.
        at: Key path of the wrong entry within the validated value.
        sibling: Name of another field of the model. The error points at this field instead of the validated one.

    Example:
        >>> schema_problem("the name is taken", "Choose another name.").message()
        'the name is taken (Choose another name.)'
    """
    context = {"what": what, "hint": hint, "at": at, "sibling": sibling}
    return PydanticCustomError("input_problem", "{what} ({hint})", context)


def sorted_by_line(problems: Iterable[InputError]) -> list[InputError]:
    """Sorts problems by file, line and column. Files are in the order of their first problem.

    Example:
        >>> late, early = (InputError("wrong", where=Location("a.yaml", line, 1)) for line in (7, 2))
        >>> [problem.where.line for problem in sorted_by_line([late, early])]
        [2, 7]
    """
    problems = list(problems)
    files: dict[str, int] = {}
    keys = []
    for problem in problems:
        where = problem.where if isinstance(problem.where, Location) else Location(problem.where)
        keys.append((files.setdefault(where.file, len(files)), where.line or 0, where.column or 0))
    return [problems[index] for index in sorted(range(len(problems)), key=keys.__getitem__)]


class _Translator:
    """Turns the errors that pydantic found in one document into problems with locations and hints."""

    def __init__(self, model: type[BaseModel], document: SourceDocument, hint_if_missing: str) -> None:
        self._model = model
        self._document = document
        self._words = _WORDS[document.notation]
        self._hint_if_missing = hint_if_missing
        # By path of an unknown key: the known key that is spelled most like it.
        self._nearest_keys: dict[KeyPath, str | None] = {}

    def problems(self, details: Sequence[ErrorDetails]) -> list[InputError]:
        unknown = {self._path(detail) for detail in details if detail["type"] == "extra_forbidden"}
        self._nearest_keys = {path: self._nearest_key(path) for path in unknown}
        misspelled = {(*path[:-1], near) for path, near in self._nearest_keys.items() if near}
        return [
            self._problem(detail)
            for detail in details
            # A misspelled key is one problem, not an unknown key and a missing one.
            if not (detail["type"] == "missing" and self._path(detail) in misspelled)
            # Pydantic does not count invalid entries, so it also reports a long enough list as too short.
            and not (detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"])
        ]

    def _problem(self, detail: ErrorDetails) -> InputError:
        path = self._path(detail)
        context: dict[str, Any] = detail.get("ctx", {})
        if detail["type"] == "input_problem":
            if context["sibling"]:
                path = (*path[:-1], context["sibling"])
            path = (*path, *context["at"])
        what, hint = self._words_for(detail, context, path)
        return InputError(what, where=self._document.location(path), hint=hint)

    def _path(self, detail: ErrorDetails) -> KeyPath:
        """Returns the key path of an error; of the key itself if a key of a mapping is invalid."""
        path = detail["loc"]
        # Pydantic ends the path of an invalid key with "[key]". A key of the file can have this name too.
        if (
            path[-1:] == ("[key]",)
            and detail["type"] != "extra_forbidden"
            and path[-2:-1] == (detail["input"],)
            and get_origin(schema_at(self._model, path[:-2])[0]) is dict
        ):
            return path[:-1]
        return path

    def _words_for(self, detail: ErrorDetails, context: dict[str, Any], path: KeyPath) -> tuple[str, str]:
        value = detail["input"]
        match detail["type"]:
            case "input_problem":
                return context["what"], context["hint"]
            case "extra_forbidden":
                return f"unknown key {str(path[-1])[:100]!r}", self._hint_for_unknown_key(path)
            case "missing" if isinstance(path[-1], int):
                return "the list is too short", f"Add entry {path[-1] + 1}."
            case "missing":
                key = str(path[-1])
                return f"the key {key!r} is missing", self._hint_if_missing.format(key=key)
            case error_type if error_type in _EXPECTED:
                expected, hint = self._words[_EXPECTED[error_type]]
                return f"expected {expected}, found {self._described(value)}", hint
            case "int_from_float":
                expected, hint = self._words["a whole number"]
                return f"expected {expected}, found {self._described(value)}", hint
            case "literal_error":
                choices = tuple(str(choice) for choice in get_args(schema_at(self._model, path)[0]))
                near = nearest_spelling(value, choices) if isinstance(value, str) else None
                hint = f"Did you mean `{near}`?" if near else "Write one of these values."
                return f"expected {_alternatives(choices)}, found {self._described(value)}", hint
            case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" | "finite_number":
                limits = _limits(schema_at(self._model, path)[1])
                return f"the number {value} is out of range", f"Write a number that is {limits or 'finite'}."
            case "string_too_short":
                return "the text is empty", "Write at least one character."
            case "too_short":
                expected, _ = self._words[_TYPES.get(type(value), "a list")]
                return f"the {expected.split(' ')[-1]} is empty", "Add at least one entry."
            case "too_long":
                return f"too many entries; the maximum is {context['max_length']}", "Remove some entries."
        return detail["msg"], "Correct the value."

    def _described(self, value: object) -> str:
        """Describes a value by its type. The description of a number or text also contains the value."""
        described, _ = self._words[_TYPES.get(type(value), "text")]
        if isinstance(value, str):
            return f"{described}: {value[:60]!r}"
        return f"{described}: {value}" if isinstance(value, int | float) and not isinstance(value, bool) else described

    def _nearest_key(self, path: KeyPath) -> str | None:
        """Returns the known key that is spelled most like the unknown key at `path`; prefers keys that are absent."""
        known, mapping = known_keys(self._model, path[:-1]), self._document.content
        for key in path[:-1]:
            mapping = mapping[key]  # type: ignore[index]
        absent = tuple(key for key in known if key not in mapping)  # type: ignore[operator]
        return nearest_spelling(str(path[-1]), absent) or nearest_spelling(str(path[-1]), known)

    def _hint_for_unknown_key(self, path: KeyPath) -> str:
        near = self._nearest_keys[path]
        return f"Did you mean `{near}`?" if near else f"Known keys: {', '.join(known_keys(self._model, path[:-1]))}."


def _limits(annotations: Iterable[Any]) -> str:
    """Describes the limits of a number: ``at least 0 and at most 1``."""
    flat = [limit for item in annotations for limit in (item.metadata if isinstance(item, FieldInfo) else [item])]
    values = {name: getattr(limit, name) for limit in flat for name in _LIMITS if hasattr(limit, name)}
    return " and ".join(text.format(f"{values[name]:.15g}") for name, text in _LIMITS.items() if name in values)


def _alternatives(choices: Sequence[str]) -> str:
    texts = [printable(choice) for choice in choices]
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
