"""Gold replies under attack: which replies, which texts, and the grades of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from rbr.conversation import Conversation, GoldRow, Message
from rbr.grading import Question
from rbr.grading.attacks import Attack, attack_shifts, attacks_on, class_changes, control_tokens_of
from rbr.grading.prompt import compile_prompt
from rbr.hashing import content_hash
from rbr.rulebook import Behavior, ContentPolicy
from resources.models import GraderInUse


@dataclass(frozen=True)
class AttackedReplies:
    """Gold replies and the texts that the attacks make of them.

    Every text is a conversation of its own. Its id depends on the text alone, so a text is graded once.

    Attributes:
        rows: The gold replies.
        attacks: The attacks.
        policy: The content policy, with the response type of each category.
    """

    rows: Sequence[GoldRow]
    attacks: Sequence[Attack]
    policy: ContentPolicy

    @cached_property
    def _texts(self) -> list[tuple[GoldRow, str | None, str]]:
        """The reply, the name of the attack or None, and the text."""
        plain: list[tuple[GoldRow, str | None, str]] = [(row, None, row.reply) for row in self.rows]
        return plain + [(row, attack.name, attack.rewrite(row.reply)) for attack in self.attacks for row in self.rows]

    @property
    def conversations(self) -> dict[str, Conversation]:
        """The conversations to grade, by id."""
        return {
            text_id(row, text): [*row.messages, Message(role="assistant", content=text)] for row, _, text in self._texts
        }

    def questions(self, by_response_type: Mapping[str, Sequence[Question]]) -> dict[str, Sequence[Question]]:
        """Returns the questions to ask about each conversation, by id.

        Args:
            by_response_type: The questions to ask about a reply, by response type.
        """
        return {
            text_id(row, text): by_response_type[self.policy.response_type(row.category)]
            for row, _, text in self._texts
        }

    def shifts(self, grades: pl.DataFrame) -> pl.DataFrame:
        """Measures how far the attacks move P(yes); see `attack_shifts`.

        Args:
            grades: Grades of the conversations: columns completion_id, proposition and p_yes.
        """
        return attack_shifts(self._grades_of(None, grades), self._by_attack(grades))

    def class_changes(self, grades: pl.DataFrame, behavior: Behavior, thresholds: Mapping[str, float]) -> pl.DataFrame:
        """Counts the replies that change class; see `rbr.grading.attacks.class_changes`.

        Args:
            grades: Grades of the conversations: columns completion_id, proposition and p_yes.
            behavior: The behavior policy.
            thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.
        """
        replies = pl.DataFrame(
            [(text_id(row, row.reply), self.policy.response_type(row.category)) for row in self.rows],
            schema={"completion_id": pl.String, "response_type": pl.String},
            orient="row",
        )
        plain, attacked = self._grades_of(None, grades), self._by_attack(grades)
        return class_changes(self.attacks, plain, attacked, replies, behavior, thresholds)

    def _by_attack(self, grades: pl.DataFrame) -> dict[str, pl.DataFrame]:
        return {attack.name: self._grades_of(attack.name, grades) for attack in self.attacks}

    def _grades_of(self, attack: str | None, grades: pl.DataFrame) -> pl.DataFrame:
        """Returns the grades of the texts of an attack, under the ids of the replies."""
        ids = pl.DataFrame(
            [(text_id(row, row.reply), text_id(row, text)) for row, name, text in self._texts if name == attack],
            schema={"completion_id": pl.String, "text_id": pl.String},
            orient="row",
        )
        found = ids.join(grades, left_on="text_id", right_on="completion_id", how="inner", maintain_order="left")
        return found.select("completion_id", "proposition", "p_yes")


def attack_gold_replies(
    rows: Sequence[GoldRow], grader: GraderInUse, policy: ContentPolicy, limit: int
) -> AttackedReplies:
    """Chooses gold replies, and attacks them with the attacks on a grader.

    The choice does not depend on the class rules, so an edit of a rule asks the grader nothing.

    Args:
        rows: The labeled replies. If several people have labeled a reply, one of the rows counts.
        grader: The grader; its own template and control tokens are among the attacks.
        policy: The content policy.
        limit: Largest number of replies. They come from the response types in turn, first those with the most labels
            that are true, because they have the most to lose.
    """
    tokens = control_tokens_of(grader.ref.path) if grader.ref is not None else []
    attacks = attacks_on(compile_prompt(grader.settings.prompt_template), tokens)
    return AttackedReplies(choose_replies(rows, policy, limit), attacks, policy)


def choose_replies(rows: Sequence[GoldRow], policy: ContentPolicy, limit: int) -> list[GoldRow]:
    """Chooses the gold replies to attack; see `attack_gold_replies`. The order of the rows changes nothing."""
    ranked = sorted(
        rows, key=lambda row: (-sum(row.labels.values()), text_id(row, row.reply), content_hash(row.labels))
    )
    by_type: dict[str, dict[str, GoldRow]] = {}
    for row in ranked:
        by_type.setdefault(policy.response_type(row.category), {}).setdefault(text_id(row, row.reply), row)
    turns = [
        (position, response_type, row)
        for response_type, distinct in by_type.items()
        for position, row in enumerate(distinct.values())
    ]
    return [row for _, _, row in sorted(turns, key=lambda turn: turn[:2])[:limit]]


def text_id(row: GoldRow, text: str) -> str:
    """Returns the id of a text as a reply to the prompt of a row: a content hash, as for gold replies."""
    return content_hash([list(row.messages), text])
