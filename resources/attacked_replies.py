"""Grades a few gold replies as they are and under attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from rbr.classes.classification import true_classes
from rbr.conversation import GoldRow, Message
from rbr.grading import Question
from rbr.grading.attacks import Attack, attack_shifts, attacks_on, control_tokens_of
from rbr.grading.prompt import compile_prompt
from rbr.hashing import content_hash
from rbr.rulebook import Behavior, ContentPolicy
from resources.cells import Cells
from resources.models import GraderInUse


@dataclass(frozen=True)
class AttackedReplies:
    """What the attacks change.

    Attributes:
        shifts: One row per attack and proposition, columns `rbr.grading.attacks.SHIFTS_SCHEMA`.
        classes: One row per attack, columns `rbr.grading.attacks.CLASSES_SCHEMA`.
        n_replies: Number of gold replies that were attacked.
    """

    shifts: pl.DataFrame
    classes: pl.DataFrame
    n_replies: int


def attacks_on_grader(grader: GraderInUse) -> tuple[Attack, ...]:
    """Returns the attacks on a grader: its own template and control tokens are among them."""
    tokens = control_tokens_of(grader.ref.path) if grader.ref is not None else []
    return attacks_on(compile_prompt(grader.settings.prompt_template), tokens)


def choose_replies(rows: Sequence[GoldRow], policy: ContentPolicy, behavior: Behavior, limit: int) -> list[GoldRow]:
    """Chooses the gold replies to attack: as many classes of each response type as possible, the worst classes first.

    Args:
        rows: The labeled replies. If several people have labeled a reply, the first labels decide.
        policy: The content policy, with the response type of each category.
        behavior: The behavior policy, with the class rules.
        limit: Largest number of replies.

    Returns:
        At most `limit` rows. Their order and choice depend on the content of the rows alone.
    """
    distinct = {reply_id(row): row for row in reversed(rows)}
    ids = sorted(distinct)
    replies = pl.DataFrame(
        {"completion_id": ids, "response_type": [policy.response_type(distinct[name].category) for name in ids]},
        schema={"completion_id": pl.String, "response_type": pl.String},
    )
    truths = [distinct[name].labels for name in ids]
    rank = {name: position for position, name in enumerate(behavior.classes)}
    groups: dict[tuple[int, str], list[str]] = {}
    for name, response_type, class_name, _ in true_classes(replies, truths, behavior).iter_rows():
        # A reply whose labels leave its class open is in the last group of its response type.
        groups.setdefault((-rank.get(class_name, -1), response_type), []).append(name)
    # The first reply of each group, then the second of each, and so on.
    turns = sorted((position, key, name) for key, names in groups.items() for position, name in enumerate(names))
    return [distinct[name] for _, _, name in turns[:limit]]


def attack_replies(
    cells: Cells,
    rows: Sequence[GoldRow],
    questions: Mapping[str, Sequence[Question]],
    grader: GraderInUse,
    policy: ContentPolicy,
    behavior: Behavior,
    thresholds: Mapping[str, float],
) -> AttackedReplies:
    """Grades replies as they are and under each attack, and compares the answers. Asks only what is missing.

    Args:
        cells: Makes the missing grades.
        rows: The gold replies to attack.
        questions: The questions to ask about a reply, by response type.
        grader: The grader to attack.
        policy: The content policy.
        behavior: The behavior policy.
        thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.

    Raises:
        InputError: As `Cells.grade`.
    """
    attacks = attacks_on_grader(grader)
    # 1. Every text is a conversation of its own, with an id that depends on the text alone, so it is graded once.
    texts = [(row, None, row) for row in rows]
    texts += [(row, attack, _with_reply(row, attack.rewrite(row.reply))) for attack in attacks for row in rows]
    ids = {(reply_id(row), attack and attack.name): reply_id(text) for row, attack, text in texts}
    conversations = {
        reply_id(text): [*text.messages, Message(role="assistant", content=text.reply)] for _, _, text in texts
    }
    asked = {reply_id(text): questions[policy.response_type(text.category)] for _, _, text in texts}
    grades = cells.grade(conversations, asked, grader)

    # 2. Compare the grades of each attacked text with those of its reply.
    def grades_of(attack: str | None) -> pl.DataFrame:
        names = pl.DataFrame(
            [(name, text) for (name, attack_name), text in ids.items() if attack_name == attack],
            schema={"completion_id": pl.String, "text_id": pl.String},
            orient="row",
        )
        found = names.join(grades, left_on="text_id", right_on="completion_id", how="inner", maintain_order="left")
        return found.select("completion_id", "proposition", "p_yes")

    replies = pl.DataFrame(
        [(reply_id(row), policy.response_type(row.category)) for row in rows],
        schema={"completion_id": pl.String, "response_type": pl.String},
        orient="row",
    )
    by_attack = {attack.name: grades_of(attack.name) for attack in attacks}
    shifts, classes = attack_shifts(attacks, grades_of(None), by_attack, replies, behavior, thresholds)
    return AttackedReplies(shifts, classes, len(rows))


def reply_id(row: GoldRow) -> str:
    """Returns the id of a gold reply: a content hash of prompt and reply."""
    return content_hash([list(row.messages), row.reply])


def _with_reply(row: GoldRow, reply: str) -> GoldRow:
    return GoldRow(row.messages, reply, row.category, row.labels, row.line)
