"""Turns pydantic's complaints about a document into rulebook errors that point at file, line and key."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rbr.errors import InputError
from rbr.files.yaml_file import Document, KeyPath

Part = TypeVar("Part", bound=BaseModel)

_EXPECTED = {
    "string_type": ("text", "Write text; put quotes around words such as yes, no or 12."),
    "bool_type": ("yes or no", "Write `yes` or `no`."),
    "float_type": ("a number", "Write a number such as 0.7."),
    "dict_type": ("a mapping", "Write indented `name: value` lines."),
    "model_type": ("a mapping", "Write indented `name: value` lines."),
    "tuple_type": ("a list", "Write a list: `[one, two]` or lines that begin with `- `."),
}
_KINDS = {
    bool: "yes or no",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
}


def validated(model: type[Part], document: Document) -> Part:
    """Validates a document's content.

    Raises:
        InputError: All that is wrong with the content, each with file, line, column and key.
    """
    problems = list(document.problems)
    part: Part | None = None
    if document.content is None:
        where = document.where(())
        problems.append(InputError("the file is empty", where=where, hint="Write the rules, or restore the file."))
    else:
        try:
            part = model.model_validate(document.content)
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems += [problem for detail in details for problem in _problems(detail, document)]
    if part is None or problems:
        raise InputError.collect(problems)
    return part


def _problems(detail: ErrorDetails, document: Document) -> list[InputError]:
    path: KeyPath = tuple(key for key in detail["loc"] if key != "[key]")
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["type"] == "unknown_keys":
        return [
            InputError(f"unknown key {key!r}", where=document.where((*path, key)), hint=hint)
            for key, hint in context["keys"].items()
        ]
    what, hint = _worded(detail, context, path)
    path += tuple(context.get("at", ()))
    return [InputError(what, where=document.where(path), hint=hint)]


def _worded(detail: ErrorDetails, context: dict[str, Any], path: KeyPath) -> tuple[str, str]:
    kind = detail["type"]
    if kind == "rulebook":
        return context["what"], context["hint"]
    if kind == "missing":
        return f"the key {path[-1]!r} is missing", f"Add `{path[-1]}:`."
    if kind in _EXPECTED:
        expected, hint = _EXPECTED[kind]
        found = "nothing" if detail["input"] is None else _KINDS.get(type(detail["input"]), "something else")
        return f"expected {expected}, found {found}", hint
    if kind == "too_short":
        return "there is nothing in it", "Add at least one entry."
    if kind == "too_long":
        return f"there are more than {context['max_length']} entries", "Remove some."
    if kind in ("greater_than_equal", "less_than_equal", "finite_number"):
        return f"the number {detail['input']} is out of range", f"{detail['msg']}."
    return detail["msg"], "See the default rulebook for the shape."
