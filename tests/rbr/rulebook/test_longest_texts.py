"""The longest texts change only if a text becomes one of the longest, or was one of them."""

import pytest

from rbr.rulebook import Propositions, Synthesis, load_rulebook
from rbr.rulebook.longest_texts import LONGEST, LongestTexts, longest_texts

EXAMPLE = {"reply": "word " * 50, "answer": True}
QUESTIONS = {name: {"question": f"Is it {'very ' * length}{name}?"} for length, name in enumerate("abcdef")}
INSTRUCTIONS = ["", "Short.", "A longer one.", "The longest one of all.", "In the middle."]


def texts(questions: dict, instructions: list[str]) -> LongestTexts:
    slot = {"name": "slot", "label": "good", "may_be": ["good"], "instructions": instructions}
    return longest_texts(
        Propositions.model_validate(questions), Synthesis.model_validate({"comply": {"slots": [slot]}})
    )


def test_the_longest_questions_and_instructions_are_kept() -> None:
    found = texts(QUESTIONS, INSTRUCTIONS)
    questions = [entry.question for entry in found.propositions]
    assert {QUESTIONS[name]["question"] for name in "fed"} <= set(questions)
    assert found.instructions == ("The longest one of all.", "In the middle.", "A longer one.")
    assert len(found.instructions) == LONGEST


def test_a_short_question_with_long_examples_is_kept() -> None:
    found = texts({**QUESTIONS, "a": {**QUESTIONS["a"], "examples": [EXAMPLE]}}, INSTRUCTIONS)
    assert QUESTIONS["a"]["question"] in {entry.question for entry in found.propositions}


@pytest.mark.parametrize(
    ("questions", "instructions"),
    [
        (QUESTIONS | {"b": {"question": "Is it so?"}}, INSTRUCTIONS),
        (dict(reversed(QUESTIONS.items())), list(reversed(INSTRUCTIONS))),
        (QUESTIONS, [*INSTRUCTIONS, "Tiny."]),
    ],
)
def test_an_edit_of_another_text_changes_nothing(questions: dict, instructions: list[str]) -> None:
    assert texts(questions, instructions) == texts(QUESTIONS, INSTRUCTIONS)


def test_the_texts_of_the_default_rulebook_survive_json() -> None:
    rulebook = load_rulebook("rulebook")
    found = longest_texts(rulebook.propositions, rulebook.synthesis)
    assert LongestTexts.model_validate_json(found.model_dump_json()).model_dump() == found.model_dump()
    longest = max((entry.question for _, entry in rulebook.propositions.items()), key=len)
    assert longest in {entry.question for entry in found.propositions}
