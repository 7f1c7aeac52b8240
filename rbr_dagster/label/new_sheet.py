"""Makes a new sheet: chooses replies, and writes one row for each, with an empty cell per proposition."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rbr.conversation import Conversation
from rbr.errors import InputError, spelling_hint
from rbr.files.data_files import load_gold_labels
from rbr.grading.prompt import INDENT, indent_lines
from rbr.hashing import content_hash
from rbr.rulebook import Rulebook, load_rulebook, propositions_needed
from rbr_dagster.environment import Environment
from rbr_dagster.label.selection import choose_replies
from rbr_dagster.label.sheet import (
    CATEGORY,
    GRADE_PREFIX,
    ID,
    PROMPT,
    REPLY,
    TEXT_COLUMNS,
    check_suffix,
    write_sheet,
)
from rbr_dagster.label.stored_replies import (
    StoredReply,
    candidates_by_answer,
    candidates_by_class,
    read_reply_grades,
    read_stored_replies,
    response_type_of,
)


@dataclass(frozen=True)
class NewSheet:
    """A sheet that was written.

    Attributes:
        strata: Number of replies in the sheet by stratum, such as response type and class.
        questions: Question by proposition, for the people who label.
    """

    strata: dict[str, int]
    questions: dict[str, str]


def make_sheet(
    environment: Environment,
    path: Path,
    *,
    number: int,
    seed: int,
    propositions: Sequence[str] = (),
    gold: Sequence[Path] = (),
    show_grades: bool = False,
) -> NewSheet:
    """Chooses stored replies that have no gold label yet, and writes a sheet.

    Args:
        environment: State directory and rulebook.
        path: The sheet to write, .csv or .jsonl.
        number: Largest number of replies.
        seed: Seed of the choice.
        propositions: Propositions to label. Replies are then chosen by the grader's answers to them. If there are none,
            replies are chosen by class, and the sheet has every proposition that a response type needs.
        gold: Gold files. Replies in them are left out.
        show_grades: Whether the sheet shows the grades. They lead people to agree with the grader.

    Raises:
        InputError: The sheet exists, a proposition is unknown, a gold file cannot be read, or no reply is left.
    """
    check_suffix(path)
    if path.exists():
        hint = "Choose another name. The file may contain labels."
        raise InputError("the sheet exists", where=str(path), hint=hint)
    rulebook = load_rulebook(environment.rulebook)
    columns = _propositions(rulebook, propositions)
    replies = _without_labels(read_stored_replies(environment.store), rulebook, gold)
    if propositions:
        replies = {name: one for name, one in replies.items() if set(columns) & set(_needed(one, rulebook))}
    if not replies:
        hint = "Add prompts and run `rbr run`, or raise synthesis.candidates, so that there are more replies."
        raise InputError("every stored reply has gold labels, or needs none", where=str(environment.home), hint=hint)
    grades = read_reply_grades(environment.store, replies, rulebook)
    if propositions:
        # A reply may be a candidate of several propositions.
        by_proposition = [candidates_by_answer(environment.store, replies, grades, name) for name in columns]
        candidates = list(chain.from_iterable(by_proposition))
    else:
        candidates = candidates_by_class(environment.store, replies, grades, rulebook)
    # A reply without a grade says nothing about its class, so it is chosen only if there are too few others.
    chosen = choose_replies([one for one in candidates if one.certainty is not None], number, seed)
    others = [one for one in candidates if one.completion_id not in chosen]
    chosen += choose_replies(others, number - len(chosen), seed)
    strata = {one.completion_id: one.stratum for one in reversed(candidates)}
    counts: dict[str, int] = {}
    for name in chosen:
        counts[strata[name]] = counts.get(strata[name], 0) + 1
    p_yes = {(name, proposition): p for name, proposition, p in grades.iter_rows()}
    # Sorted by id, so that the order says nothing about the class.
    rows = [
        {
            ID: name,
            CATEGORY: replies[name].category,
            PROMPT: as_plain_text(replies[name].messages),
            REPLY: replies[name].text,
            **dict.fromkeys(columns),
            **{f"{GRADE_PREFIX}{proposition}": p_yes.get((name, proposition)) for proposition in columns},
        }
        for name in sorted(chosen)
    ]
    shown = [f"{GRADE_PREFIX}{name}" for name in columns] if show_grades else []
    write_sheet(path, [*TEXT_COLUMNS, *columns, *shown], rows)
    return NewSheet(dict(sorted(counts.items())), {name: rulebook.propositions[name].question for name in columns})


def as_plain_text(messages: Conversation) -> str:
    """Returns a prompt as text: every turn with its number and role, and its lines indented.

    Only the first line of a turn is not indented, so no message can look like a turn of its own.

    Example:
        >>> print(as_plain_text([{"role": "user", "content": "Hi.\\n[2: assistant]"}]))
        [1: user]
          Hi.
          [2: assistant]
    """
    return "\n".join(
        f"[{number}: {turn['role']}]\n{INDENT}{indent_lines(turn['content'])}"
        for number, turn in enumerate(messages, start=1)
    )


def _propositions(rulebook: Rulebook, wanted: Sequence[str]) -> list[str]:
    """Returns the propositions to label, sorted."""
    needed = {name for rt in rulebook.behavior.response_types for name in propositions_needed(rulebook.behavior, rt)}
    problems = [
        InputError(
            f"no response type needs a proposition {name!r}", where="--proposition", hint=spelling_hint(name, needed)
        )
        for name in wanted
        if name not in needed
    ]
    problems += [
        InputError(
            f"the proposition {name!r} has the name of a column of a sheet",
            where="propositions.yaml",
            hint="Rename it.",
        )
        for name in needed & set(TEXT_COLUMNS)
    ]
    if problems:
        raise InputError.collect(problems)
    return sorted(set(wanted) or needed)


def _needed(reply: StoredReply, rulebook: Rulebook) -> tuple[str, ...]:
    return propositions_needed(rulebook.behavior, response_type_of(reply, rulebook))


def _without_labels(
    replies: dict[str, StoredReply], rulebook: Rulebook, gold: Sequence[Path]
) -> dict[str, StoredReply]:
    """Leaves out replies in a gold file, all but one of equal replies to a prompt, and prompts without a category."""
    seen = {content_hash([list(row.messages), row.reply]) for path in gold for row in load_gold_labels(path)}
    left: dict[str, StoredReply] = {}
    for name, reply in sorted(replies.items()):
        identity = content_hash([list(reply.messages), reply.text])
        if identity not in seen and reply.category in rulebook.content_policy.categories:
            seen.add(identity)
            left[name] = reply
    return left
