"""Rows of the table `grades`: which grades are wanted, what answers become, and what to do about missing ones."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten

import polars as pl

from rbr.conversation import Conversation
from rbr.errors import ServerAway
from rbr.grading import Answers, Outcome, Question, question_hash
from rbr.grading.answers import NOT_ASKED_ABOUT_THIS
from rbr.grading.prompt import compile_prompt
from rbr.profile import GraderSettings
from resources.models import GraderInUse
from resources.store import Store

_SHOWN_REASONS = 3
_SHOWN_CONVERSATIONS = 3
_SHOWN_CHARACTERS = 60


def wanted_grades(questions: Mapping[str, Sequence[Question]], grader: GraderInUse) -> pl.DataFrame:
    """Returns one row per answer: columns completion_id, proposition, question (its hash) and grader.

    Args:
        questions: The questions to ask about each conversation, by completion id or prompt id.
        grader: The grader to ask.
    """
    by_name = {question.name: question for group in questions.values() for question in group}
    hashes = {name: question_hash(question, grader.settings.few_shot) for name, question in by_name.items()}
    return pl.DataFrame(
        [
            (conversation_id, question.name, hashes[question.name], grader.version)
            for conversation_id, group in questions.items()
            for question in group
        ],
        schema={"completion_id": pl.String, "proposition": pl.String, "question": pl.String, "grader": pl.String},
        orient="row",
    )


def prompt_length(
    conversations: Sequence[Conversation], questions: Sequence[Question], settings: GraderSettings
) -> int:
    """Returns the length of what a grader reads to answer each question about each conversation, in characters.

    A chat with a server is one question, so it contains the conversation again. Other graders read a conversation once
    for all its questions.
    """
    prompt = compile_prompt(settings.prompt_template)
    conversation_length = sum(len(prompt.conversation(messages)) for messages in conversations)
    question_length = sum(len(prompt.question(question, settings.few_shot)) for question in questions)
    is_chat = settings.backend == "openai" and settings.endpoint == "chat"
    return conversation_length * (len(questions) if is_chat else 1) + question_length * len(conversations)


def read_grades(store: Store, questions: Mapping[str, Sequence[Question]], grader: GraderInUse) -> pl.DataFrame:
    """Reads grades that have been made earlier. Arguments and result are the same as for `Cells.grade`.

    The columns p_yes, outcome and mass are null if the grade has not been made.
    """
    stored = store.read("grades", "grader = ?", [grader.version])
    answered = wanted_grades(questions, grader).join(stored, on=["completion_id", "question", "grader"], how="left")
    return answered.select("completion_id", "proposition", "p_yes", "outcome", "mass").sort(
        "completion_id", "proposition"
    )


def group_by_questions(missing: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Groups the conversations that lack answers to the same questions.

    Args:
        missing: Columns completion_id and proposition; one row per missing answer.

    Yields:
        Columns completion_id and propositions (a list, the same in all rows).
    """
    lacking = missing.group_by("completion_id", maintain_order=True).agg(propositions=pl.col("proposition").sort())
    for _, group in lacking.group_by("propositions", maintain_order=True):
        yield group


def answered_rows(
    completion_ids: Sequence[str], questions: Sequence[Question], answers: Answers, grader: GraderInUse
) -> pl.DataFrame:
    """Returns the rows of the table `grades` for the questions that got an answer, a refusal included.

    A question that got none has no row, so the next run asks it again.

    Args:
        completion_ids: Id of each conversation.
        questions: The questions that were asked about each conversation.
        answers: The answers, [conversations, questions].
        grader: The grader that was asked.
    """
    hashes = [question_hash(question, grader.settings.few_shot) for question in questions]
    return pl.DataFrame(
        [
            (
                completion_id,
                hashes[column],
                grader.version,
                answer.p_yes,
                str(answer.outcome),
                answer.bound,
                answer.mass,
                answer.reason or None,
            )
            for row, completion_id in enumerate(completion_ids)
            for column in range(len(questions))
            if (answer := answers[row, column]).outcome != Outcome.NOT_ANSWERED
        ],
        schema={
            "completion_id": pl.String,
            "question": pl.String,
            "grader": pl.String,
            "p_yes": pl.Float64,
            "outcome": pl.String,
            "bound": pl.Float64,
            "mass": pl.Float64,
            "reason": pl.String,
        },
        orient="row",
    )


def unanswered(
    asset: str, n_missing: int, n_wanted: int, reasons: Counter[str], failed: Mapping[str, tuple[Conversation, str]]
) -> ServerAway:
    """Returns the error of an asset whose grader left questions without an answer.

    Args:
        asset: Name of the asset.
        n_missing: Number of questions without an answer.
        n_wanted: Number of questions that were asked.
        reasons: Number of questions by reason.
        failed: The conversations with questions that the grader was asked in vain, each with the reason, by id.
    """
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(_SHOWN_REASONS))
    hint = (
        "The other answers are stored. Check the grader, then run `rbr run` again: it asks only what is missing. If "
        "the server needs more time, raise grader.wait_s or grader.timeout_s."
    )
    if failed:
        hint += (
            f" {_named(failed)} If the server fails for the same conversation in every run, its log says why. Correct "
            "the server, or remove the prompt of this conversation."
        )
    return ServerAway(
        f"the grader gave no answer to {n_missing:,} of {n_wanted:,} questions: {listed or 'no reason given'}",
        where=asset,
        hint=hint,
    )


def failed_conversations(
    answers: Answers, conversation_ids: Sequence[str], conversations: Sequence[Conversation]
) -> dict[str, tuple[Conversation, str]]:
    """Returns the conversations with questions that the grader was asked in vain, each with the reason, by id.

    There are none if the grader stopped to answer: then the failures say nothing about a conversation.

    Args:
        answers: The answers, [conversations, questions].
        conversation_ids: Id of each conversation.
        conversations: The conversations.
    """
    failed: dict[str, tuple[Conversation, str]] = {}
    not_asked = {reason for reason in answers.reasons_of(Outcome.NOT_ANSWERED) if reason.startswith("not asked")}
    if not_asked - {NOT_ASKED_ABOUT_THIS}:
        return failed
    for (row, column), reason in answers.reasons.items():
        if answers.outcomes[row, column] == Outcome.NOT_ANSWERED and reason not in not_asked:
            failed.setdefault(conversation_ids[row], (conversations[row], reason))
    return failed


def _named(failed: Mapping[str, tuple[Conversation, str]]) -> str:
    """Names conversations by their id and the first words of their last user turn."""
    parts = []
    for conversation_id, (messages, reason) in list(failed.items())[:_SHOWN_CONVERSATIONS]:
        said = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
        words = shorten(said, _SHOWN_CHARACTERS, placeholder="...")
        parts.append(f"conversation {conversation_id} (the user says {words!r}): {reason}")
    more = f"; and {len(failed) - len(parts):,} more" if len(failed) > len(parts) else ""
    return f"No answer about {'; '.join(parts)}{more}."
