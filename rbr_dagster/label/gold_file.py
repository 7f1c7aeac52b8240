"""Adds labels to a gold file. The lines that stay are not rewritten.

The rule for a reply that the gold file already has: labels of other propositions are added to its line, equal labels
change nothing, and a label that says the opposite is refused. If several people have labeled the reply, the first line
that the new labels do not contradict is used.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbr.conversation import Conversation, GoldRow
from rbr.errors import InputError, Location
from rbr.files.data_files import load_gold_labels
from rbr.files.file_replacement import replace_texts
from rbr.files.text_file import read_text
from rbr.hashing import content_hash


@dataclass(frozen=True)
class LabeledReply:
    """A row of a sheet with at least one label.

    Attributes:
        where: Line of the sheet.
        messages: Messages of the prompt.
        reply: The reply.
        category: Category of the prompt.
        labels: Truth value by proposition.
    """

    where: Location
    messages: Conversation
    reply: str
    category: str
    labels: dict[str, bool]


@dataclass(frozen=True)
class AddedLabels:
    """What was added to a gold file.

    Attributes:
        new: Number of replies that the file did not have.
        extended: Number of replies that got labels of more propositions.
        unchanged: Number of replies whose labels the file already had.
        labels: Number of labels that were added.
    """

    new: int
    extended: int
    unchanged: int
    labels: int


def add_labels(gold: Path, replies: Sequence[LabeledReply]) -> AddedLabels:
    """Adds labels to a gold file, all of them or none. A file that does not exist is created.

    Raises:
        InputError: The gold file cannot be read or written, or labels contradict it. Nothing was written then.
    """
    exists = gold.exists()
    # Not splitlines(), which also splits at U+2028 and similar characters. JSON allows them inside a string.
    lines = read_text(gold).split("\n") if exists else []
    by_reply: dict[str, list[GoldRow]] = {}
    for row in load_gold_labels(gold) if exists else []:
        by_reply.setdefault(content_hash([list(row.messages), row.reply]), []).append(row)
    problems: list[InputError] = []
    new: list[str] = []
    extended = unchanged = labels = 0
    for reply in replies:
        rows = by_reply.get(content_hash([list(reply.messages), reply.reply]), [])
        agreeing = next((row for row in rows if not _contradictions(row, reply)), None)
        if rows and agreeing is None:
            problems += [_contradiction(gold, rows[0], reply, name) for name in _contradictions(rows[0], reply)]
        elif agreeing is None:
            labels += len(reply.labels)
            new.append(_gold_line(reply))
        elif added := {name: truth for name, truth in reply.labels.items() if name not in agreeing.labels}:
            labels += len(added)
            extended += 1
            lines[agreeing.line - 1] = _with_labels(lines[agreeing.line - 1], added)
        else:
            unchanged += 1
    if problems:
        raise InputError.collect(problems)
    if new or extended:
        kept = "\n".join(lines)
        # The last line of a file may lack its line break.
        separator = "\n" if kept and not kept.endswith("\n") and new else ""
        _write(gold, kept + separator + "".join(new), exists)
    return AddedLabels(len(new), extended, unchanged, labels)


def _contradictions(row: GoldRow, reply: LabeledReply) -> list[str]:
    return sorted(name for name, truth in reply.labels.items() if row.labels.get(name, truth) != truth)


def _contradiction(gold: Path, row: GoldRow, reply: LabeledReply, proposition: str) -> InputError:
    old, new = ("yes" if truth else "no" for truth in (row.labels[proposition], reply.labels[proposition]))
    return InputError(
        f"the label is {new}, but {gold}:{row.line} has the label {old} for the same reply",
        where=Location(reply.where.file, reply.where.line, key_path=(proposition,)),
        hint="Decide which of the two is right, and correct the other one.",
    )


def _gold_line(reply: LabeledReply) -> str:
    row = {
        "category": reply.category,
        "labels": dict(sorted(reply.labels.items())),
        "messages": [{"content": turn["content"], "role": turn["role"]} for turn in reply.messages],
        "reply": reply.reply,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _with_labels(line: str, added: dict[str, bool]) -> str:
    """Adds labels to a line in this project's format, or in the format of the released data."""
    row = json.loads(line)
    key = "labels" if "labels" in row else "propositions"
    row[key] = dict(sorted({**row[key], **added}.items()))
    return json.dumps(row, ensure_ascii=False)


def _write(gold: Path, text: str, exists: bool) -> None:
    if not exists:
        try:
            gold.open("xb").close()
        except OSError as error:
            what = f"the gold file cannot be created: {error.strerror}"
            raise InputError(what, where=str(gold), hint="Choose another directory.") from error
    try:
        replace_texts({gold: text})
    except InputError:
        if not exists:
            with contextlib.suppress(OSError):
                gold.unlink()
        raise
