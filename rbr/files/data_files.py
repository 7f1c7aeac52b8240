"""The two data files that a user brings: prompts and gold labels, both JSON Lines.

docs/data-files.md describes every key. White space at the ends of a prompt's turns is dropped: no model reads it, and
prompts that differ in nothing else are the same prompt.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rbr.conversation import Conversation, GoldRow, Message, Prompt, prompt_id
from rbr.errors import InputError, Location
from rbr.files.json_document import JsonDocument, parse_json
from rbr.files.schema_errors import schema_problem, sorted_by_line, validate
from rbr.files.text_file import read_text
from rbr.hashing import content_hash
from rbr.thoughts import reply_of_text

Row = TypeVar("Row")

RESERVED_SPLITS = ("train", "test")
"""Splits that the hash of a prompt decides, so no prompt can be held out under these names."""

MAX_SPLIT_NAME = 100
"""Largest number of characters of a split name. It is a part of metric names, which have at most 250 in MLflow."""

_SPLIT_NAME = re.compile(r"[/\w.\- :]+")
_HINT_IF_MISSING = 'Add `"{key}": ...`.'


def load_prompts(path: str | Path) -> list[Prompt]:
    """Reads a prompts file: JSON Lines of ``{"messages", "category"?, "held_out"?}``.

    Returns:
        The prompts, in file order.

    Raises:
        InputError: The file is missing or empty, a line does not fit the schema, a split cannot have its name, or a
            prompt is repeated. All problems are reported, each with file and line.

    Example:
        >>> prompts = load_prompts("rbr_sandbox/data/tiny_prompts.jsonl")
        >>> len(prompts), prompts[0].messages[-1]["role"]
        (40, 'user')
    """

    def parse(document: JsonDocument, _line: int) -> Prompt:
        record = _prompt_line(document)
        return Prompt(prompt_id(record.messages), tuple(record.messages), record.category, record.held_out)

    return _read_rows(path, parse, lambda prompt: prompt.prompt_id, "the prompt is the same as in line {}")


def load_gold_labels(path: str | Path) -> list[GoldRow]:
    """Reads a gold file: JSON Lines of ``{"messages", "reply", "category", "labels"}``.

    The file may also contain lines of the gold data that the paper's authors released (section 6): ``{"prompt",
    "completion", "category", "response_type", "propositions"}``. The response type is ignored, because the category
    implies it. A thought before a reply is left out: see `rbr.thoughts`.

    Returns:
        The rows, in file order. If two people label the same reply differently, both rows are returned.

    Raises:
        InputError: The file is missing or empty, a line does not fit the schema, or a row is repeated. All problems
            are reported, each with file and line.

    Example:
        >>> row = load_gold_labels("rbr_sandbox/data/tiny_gold_labels.jsonl")[0]
        >>> row.line, row.labels["apology"]
        (1, True)
    """

    def parse(document: JsonDocument, line: int) -> GoldRow:
        if document.has_any_key("completion", "propositions"):
            return validate(_ReleasedLine, document, hint_if_missing=_HINT_IF_MISSING).row(line)
        return validate(_GoldLine, document, hint_if_missing=_HINT_IF_MISSING).row(line)

    def identity(row: GoldRow) -> str:
        return content_hash([list(row.messages), row.reply, row.labels])

    return _read_rows(path, parse, identity, "prompt, reply and labels are the same as in line {}")


def located_categories(path: str | Path) -> list[tuple[str, Location]]:
    """Reads the category of each line of a prompts file or gold file, and where it is.

    Args:
        path: Prompts file or gold file. Lines without a category are left out, and so are lines that are not JSON.

    Example:
        >>> category, where = located_categories("rbr_sandbox/data/tiny_gold_labels.jsonl")[0]
        >>> str(where).partition(":")[2]
        '1 category'
    """
    return [
        (content["category"], document.location(("category",)))
        for document, content in _objects(path)
        if isinstance(content.get("category"), str)
    ]


def located_labels(path: str | Path) -> list[dict[str, Location]]:
    """Reads the names of the propositions that each line of a gold file labels, and where they are.

    Args:
        path: Gold file. Lines that are not JSON are left out.

    Returns:
        For each other line, the location of each label by proposition.

    Example:
        >>> labels = located_labels("rbr_sandbox/data/tiny_gold_labels.jsonl")[0]
        >>> str(labels["apology"]).partition(":")[2]
        '1 labels.apology'
    """
    return [
        {
            name: document.location((key, name))
            for key in ("labels", "propositions")
            for name in (content[key] if isinstance(content.get(key), dict) else ())
        }
        for document, content in _objects(path)
    ]


def located_prompts(path: str | Path) -> dict[str, Location]:
    """Reads where each prompt of a prompts file is.

    Args:
        path: A file that `load_prompts` can read.

    Returns:
        The file and line of each prompt, by prompt id.

    Example:
        >>> where = located_prompts("rbr_sandbox/data/tiny_prompts.jsonl")
        >>> min(location.line for location in where.values())
        1
    """
    return {prompt_id(_prompt_line(document).messages): document.location(()) for document, _ in _objects(path)}


def _prompt_line(document: JsonDocument) -> "_PromptLine":
    return validate(_PromptLine, document, hint_if_missing=_HINT_IF_MISSING)


def _objects(path: str | Path) -> Iterator[tuple[JsonDocument, dict[str, Any]]]:
    """Yields each line of a file and its content. Lines that are no JSON object are left out."""
    for number, text in _lines(path):
        with suppress(InputError):
            document = parse_json(text, str(path), line=number, hint="")
            if isinstance(document.content, dict):
                yield document, document.content


def _read_rows(
    path: str | Path, parse: Callable[[JsonDocument, int], Row], identity: Callable[[Row], str], repeated: str
) -> list[Row]:
    """Reads the rows of a file and reports all problems together.

    Args:
        path: JSON Lines file.
        parse: Turns a line and its number into a row, or raises an `InputError`.
        identity: Returns the identity of a row. Two rows with the same identity are a problem.
        repeated: Error text for a repeated row; ``{}`` stands for the line number of the first row.

    Raises:
        InputError: All problems of the file.
    """
    rows: list[Row] = []
    problems: list[InputError] = []
    first_line: dict[str, int] = {}
    for number, text in _lines(path):
        try:
            document = parse_json(text, str(path), line=number, hint="Write one JSON object per line.")
            row = parse(document, number)
        except InputError as error:
            problems.extend(error.problems)
            continue
        first = first_line.setdefault(identity(row), number)
        if first == number:
            rows.append(row)
        else:
            where = Location(str(path), number)
            hint = "Remove one of the two lines. White space at the ends of a prompt's turns makes no difference."
            problems.append(InputError(repeated.format(first), where=where, hint=hint))
    if problems:
        raise InputError.collect(sorted_by_line(problems))
    return rows


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yields number and text of each line that is not blank. Raises an `InputError` if there is none."""
    # Not splitlines(), which also splits at U+2028 and similar characters. JSON allows them inside a string.
    numbered = [(number, line) for number, line in enumerate(read_text(path).split("\n"), start=1) if line.strip()]
    if not numbered:
        raise InputError("the file is empty", where=Location(str(path)), hint="Add one JSON object per line.")
    yield from numbered


def _check_prompt(messages: Conversation) -> Conversation:
    """Checks the last turn, and drops the white space at the ends of each turn."""
    if messages[-1]["role"] != "user":
        hint = "End the prompt with a message of the role `user`."
        raise schema_problem("the last message must be from the user", hint, at=(len(messages) - 1, "role"))
    stripped = [Message(role=turn["role"], content=turn["content"].strip()) for turn in messages]
    if not stripped[-1]["content"]:
        hint = "Write what the user asks, or remove the line."
        raise schema_problem("the last message has no text", hint, at=(len(messages) - 1, "content"))
    return stripped


def _check_split_name(name: str) -> str:
    what, hint = "", ""
    if name.strip().casefold() in RESERVED_SPLITS:
        what = f"the name {name!r} is reserved for prompts that are split by their hash"
        hint = "Choose another name, such as `unseen_topics`, or leave out `held_out`."
    elif len(name) > MAX_SPLIT_NAME:
        what = f"the name of the split has {len(name)} characters; the maximum is {MAX_SPLIT_NAME}"
        hint = "Choose a shorter name."
    elif unusual := sorted(set(_SPLIT_NAME.sub("", name))):
        what = f"the name of the split has the characters {' '.join(map(repr, unusual))}, which MLflow does not accept"
        hint = "Use letters, digits, blanks and _ - . : / only."
    elif name != name.strip():
        what, hint = "the name of the split begins or ends with a blank", "Remove the blank."
    elif not {"", ".", ".."}.isdisjoint(name.split("/")):
        what = f"MLflow does not accept the name {name!r}: between slashes there must be more than dots"
        hint = "Remove a slash, or write a name on both of its sides."
    if what:
        raise schema_problem(what, hint)
    return name


def _check_reply(messages: Conversation) -> Conversation:
    if messages[0]["role"] != "assistant":
        hint = "Write one message of the role `assistant`."
        raise schema_problem("the message must be from the assistant", hint, at=(0, "role"))
    return messages


_PromptMessages = Annotated[Conversation, Field(min_length=1), AfterValidator(_check_prompt)]
_NonEmptyText = Annotated[str, Field(min_length=1)]
_SplitName = Annotated[_NonEmptyText, AfterValidator(_check_split_name)]


class _PromptLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: _PromptMessages
    category: _NonEmptyText | None = None
    held_out: _SplitName | None = None


class _GoldLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    messages: _PromptMessages
    reply: str
    category: _NonEmptyText
    labels: Annotated[dict[str, bool], Field(min_length=1)]

    def row(self, line: int) -> GoldRow:
        return _gold_row(self.messages, self.reply, self.category, self.labels, line)


class _ReleasedLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prompt: _PromptMessages
    completion: Annotated[Conversation, Field(min_length=1, max_length=1), AfterValidator(_check_reply)]
    category: _NonEmptyText
    response_type: _NonEmptyText
    propositions: Annotated[dict[str, bool], Field(min_length=1)]

    def row(self, line: int) -> GoldRow:
        return _gold_row(self.prompt, self.completion[0]["content"], self.category, self.propositions, line)


def _gold_row(messages: Conversation, text: str, category: str, labels: dict[str, bool], line: int) -> GoldRow:
    output = reply_of_text(text)
    return GoldRow(tuple(messages), output.text, category, labels, line, output)
