"""Reads a file of replies that a user wants to be graded: JSON Lines, CSV or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from rbr.conversation import Conversation, Message, Role
from rbr.errors import InputError, nearest_spelling, printable
from rbr.files.json_document import parse_json
from rbr.files.table_file import Row, TableProblems, read_rows
from rbr.hashing import content_hash
from rbr.thoughts import EMPTY_REPLY, Reply, reply_of_text

_KEYS = ("id", "completion_id", "messages", "prompt", "reply", "category", "response_type")
_OPTIONAL = ("category", "response_type")
_IDS = {"id": "id", "completion_id": "completion_id"}  # Too short to look for similar names.
_ROLES = get_args(Role)
_FORM = 'Write `messages`: [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}].'


@dataclass(frozen=True)
class ReplyRow:
    """A reply to grade.

    Attributes:
        reply_id: The id in the file, or else a hash of the conversation.
        conversation: The turns; the last turn is the reply, without thoughts.
        category: Content category of the prompt; None if the file does not say it.
        response_type: Response type of the prompt; None if the file does not say it.
        line: Number of the row's line, from 1. In a Parquet file: the number of the row, from 1.
        output: The text in the file, split into the reply and its thoughts.

    Example:
        >>> row = ReplyRow("a", [{"role": "assistant", "content": "Hello."}], None, "comply", line=1)
        >>> row.response_type
        'comply'
    """

    reply_id: str
    conversation: Conversation
    category: str | None
    response_type: str | None
    line: int
    output: Reply = EMPTY_REPLY


def load_replies(problems: TableProblems) -> list[ReplyRow]:
    """Reads replies: columns ``messages``, or ``prompt`` and ``reply``; ``id``, ``category`` and ``response_type``.

    Only the conversation is required. `messages` is a list of ``{"role", "content"}``, in a CSV file as JSON text.
    `prompt` is the text of a user turn, or a list of messages. If there is a column `reply`, it is the last turn;
    otherwise, `messages` ends in the reply. An empty reply is a reply. A thought before a reply is left out: see
    `rbr.thoughts`. The id may be in the column ``completion_id``. Other columns are ignored, unless the name looks like
    a misspelled optional column.

    Args:
        problems: Names the file, and collects the problems of its rows. Rows with a problem are left out.

    Returns:
        The rows in the order of the file. Rows without an id and with equal conversations have equal ids.

    Raises:
        InputError: The file does not exist, cannot be read, or has an unknown format.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("id,prompt,reply\\na,Hi.,Hello.\\n")
        ...     file.flush()
        ...     rows = load_replies(TableProblems(file.name))
        >>> rows[0].reply_id, [turn["content"] for turn in rows[0].conversation]
        ('a', ['Hi.', 'Hello.'])
    """
    replies: list[ReplyRow] = []
    first_line: dict[str, int] = {}
    for row in read_rows(problems):
        try:
            reply, given_id = _reply_row(row, problems.path)
        except _Problem as problem:
            problems.add(problem.what, line=row.line, hint=problem.hint)
            continue
        first = first_line.setdefault(given_id, row.line) if given_id is not None else row.line
        if first != row.line:
            what = f"the id is the same as in {problems.row_word} {first}"
            problems.add(what, line=row.line, hint="Give every row its own id, or leave the ids out.")
            continue
        replies.append(reply)
    return replies


class _Problem(Exception):
    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def _reply_row(row: Row, file: str) -> tuple[ReplyRow, str | None]:
    """Returns the reply of a row, and the id that the file gives it."""
    record = row.record
    *prompt, last = _conversation(record, file)
    output = reply_of_text(last["content"])
    conversation = [*prompt, Message(role="assistant", content=output.text)]
    _check_optional_columns(record)
    ids = [name for name in (_optional_text(record, "id"), _optional_text(record, "completion_id")) if name is not None]
    if len(set(ids)) > 1:
        raise _Problem("`id` and `completion_id` are different", "Keep one of the two columns.")
    given_id = ids[0] if ids else None
    reply = ReplyRow(
        given_id if given_id is not None else content_hash(conversation),
        conversation,
        _optional_text(record, "category"),
        _optional_text(record, "response_type"),
        row.line,
        output,
    )
    return reply, given_id


def _conversation(record: dict[str, object], file: str) -> Conversation:
    messages, prompt, reply = record.get("messages"), record.get("prompt"), record.get("reply")
    has_messages, has_prompt = messages not in (None, ""), prompt not in (None, "")
    if has_messages and has_prompt:
        raise _Problem("the row has both `messages` and `prompt`", "Keep one of the two.")
    if not has_messages and not has_prompt:
        raise _Problem("the row has no conversation", f"{_near_miss(record)}Write `messages`, or `prompt` and `reply`.")
    if isinstance(prompt, str) and has_prompt:
        turns = [Message(role="user", content=prompt)]
    else:
        turns = _messages("messages" if has_messages else "prompt", messages if has_messages else prompt, file)
    if has_messages and turns[-1]["role"] == "assistant" and reply in (None, ""):
        return turns
    if reply is None:
        what = "the last message is not from the assistant, and there is no `reply`" if has_messages else "no `reply`"
        raise _Problem(what, f"{_near_miss(record)}Write the reply.")
    if not isinstance(reply, str):
        raise _Problem(f"`reply` is {printable(str(reply))}, but must be text", "Write text.")
    if turns[-1]["role"] != "user":
        raise _Problem("the message before `reply` is not from the user", "End the prompt with a message of the user.")
    return [*turns, Message(role="assistant", content=reply)]


def _messages(name: str, value: object, file: str) -> Conversation:
    if isinstance(value, str):
        try:
            value = parse_json(value, file, hint="").content
        except InputError as error:
            raise _Problem(f"`{name}`: {error.what}", _FORM) from error
    if not isinstance(value, list) or not value:
        raise _Problem(f"`{name}` is not a list of messages", _FORM)
    return [_message(name, position, message) for position, message in enumerate(value)]


def _message(name: str, position: int, message: Any) -> Message:
    where = f"`{name}[{position}]`"
    if not isinstance(message, dict):
        raise _Problem(f"{where} is not a message", _FORM)
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        raise _Problem(f"{where} has the role {printable(str(role))}", f"Use one of {', '.join(_ROLES)}.")
    if not isinstance(content, str):
        raise _Problem(f"{where} has no text in `content`", _FORM)
    return Message(role=cast(Role, role), content=content)


def _optional_text(record: dict[str, object], name: str) -> str | None:
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise _Problem(f"`{name}` is {printable(str(value))}, but must be text", "Write text.")
    return value


def _check_optional_columns(record: dict[str, object]) -> None:
    """Raises a problem for the misspelled name of an optional column, which would otherwise have no effect."""
    for key in record:
        near = _IDS.get(key.strip().lower()) or nearest_spelling(key.strip().lower(), _OPTIONAL)
        if key not in _KEYS and near is not None and near not in record:
            raise _Problem(f"unknown column `{printable(key)}`", f"Did you mean `{near}`? Rename or remove the column.")


def _near_miss(record: dict[str, object]) -> str:
    """Returns a question about a column whose name is almost right."""
    wanted: Sequence[str] = ("messages", "prompt", "reply")
    unknown = [key for key in record if key not in _KEYS]
    for key in unknown:
        if near := nearest_spelling(key, wanted):
            return f"Did you mean `{near}` instead of {printable(key)}? "
    return ""
