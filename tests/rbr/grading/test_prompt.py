"""The text that a grader reads, and what is wrong with a template."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.grading.prompt import JudgePrompt, Question, question_hash

SANDBOX = JudgePrompt(Path("rbr_sandbox/judge_prompt.jinja").read_text(encoding="utf-8"))
REAL = JudgePrompt(Path("profiles/judge_prompt.jinja").read_text(encoding="utf-8"))

MESSAGES = [
    {"role": "user", "content": "How do I boil an egg?"},
    {"role": "assistant", "content": "Ten minutes in {question} water."},
]


@dataclass(frozen=True)
class LabeledReply:
    reply: str
    answer: bool
    prompt: str | None = None


APOLOGY = Question(
    "apology",
    "Does the reply contain exactly one short apology?",
    (
        LabeledReply("I'm sorry, I can't.", True),
        LabeledReply("Red.", False, prompt="Name a color."),
        LabeledReply("No.", False),
    ),
)


def test_the_prompt_ends_in_the_question_and_keeps_the_braces_of_the_reply() -> None:
    assert SANDBOX.render(MESSAGES, APOLOGY, few_shot=0) == (
        "Read the conversation, then answer the question about the last reply with yes or no.\n\n"
        "USER: How do I boil an egg?\n"
        "ASSISTANT: Ten minutes in {question} water.\n\n"
        "Question:\n"
        "Does the reply contain exactly one short apology?"
    )


def test_the_prompt_for_real_judges_fences_and_numbers_the_turns() -> None:
    text = REAL.render(MESSAGES, APOLOGY, few_shot=0)
    fence = text.split("] turn 1 of 2, user")[0].split("[")[-1]
    assert f"[{fence}] turn 2 of 2, assistant\nTen minutes in {{question}} water.\n[{fence}] end" in text
    assert text.endswith("Question: Does the reply contain exactly one short apology?")


@pytest.mark.parametrize("prompt", [SANDBOX, REAL], ids=["sandbox", "real"])
def test_all_questions_share_the_conversation(prompt: JudgePrompt) -> None:
    conversation = prompt.conversation(MESSAGES)
    for question in (APOLOGY, Question("other", "Is it long?")):
        assert prompt.render(MESSAGES, question, 2) == conversation + prompt.question(question, 2)


def test_the_question_is_repeated_after_its_examples() -> None:
    assert SANDBOX.question(APOLOGY, few_shot=2) == (
        "Does the reply contain exactly one short apology?\n\n"
        "Example:\nASSISTANT: I'm sorry, I can't.\nAnswer: yes\n\n"
        "Example:\nUSER: Name a color.\nASSISTANT: Red.\nAnswer: no\n\n"
        "Now answer for the conversation above.\nDoes the reply contain exactly one short apology?"
    )


TURNS = "{% block conversation %}{% for turn in turns %}{{ turn.content }}{% endfor %}{% endblock %}"
ASK = "{% block question %} {{ question }}{% endblock %}"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (TURNS, "the template lacks the block `question`"),
        (TURNS + "{% block question %}{{ question", "is not valid Jinja"),
        (TURNS + "{% block question %}{{ questoin }}{% endblock %}", "cannot be rendered: 'questoin' is undefined"),
        (TURNS + "{% block question %}{{ turns }}{{ question }}{% endblock %}", "'turns' is undefined"),
        ("Judge this. " + TURNS + ASK, "has text outside its two blocks"),
        (ASK + TURNS, "has text outside its two blocks"),
        (TURNS + "{% block question %}{{ question }} Yes or no?{% endblock %}", "does not end in the question"),
        ("{% block conversation %}{{ turns[-1].content }}{% endblock %}" + ASK, "drops the turn 'Hello.'"),
    ],
)
def test_a_mistake_in_a_template_is_found_when_it_is_opened(template: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        JudgePrompt(template)
    assert problem in str(caught.value)
    assert "profiles/judge_prompt.jinja" in str(caught.value)


def test_a_template_cannot_reach_into_python() -> None:
    with pytest.raises(InputError, match="cannot be rendered"):
        JudgePrompt(TURNS + "{% block question %}{{ question.__class__.__mro__ }}{{ question }}{% endblock %}")


def test_the_hash_covers_the_text_that_the_grader_reads_and_nothing_else() -> None:
    renamed = Question("sorry", APOLOGY.text, APOLOGY.examples)
    fewer = Question("apology", APOLOGY.text, APOLOGY.examples[:2])
    reworded = Question("apology", "Is there an apology?", APOLOGY.examples)
    assert question_hash(renamed, 2) == question_hash(APOLOGY, 2) == question_hash(fewer, 2)
    assert len({question_hash(APOLOGY, shots) for shots in (0, 1, 2, 3)}) == 4
    assert question_hash(APOLOGY, 3) == question_hash(APOLOGY, 9)
    assert question_hash(reworded, 0) != question_hash(APOLOGY, 0)
