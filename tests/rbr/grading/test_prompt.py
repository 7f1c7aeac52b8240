from dataclasses import dataclass

from rbr.grading.prompt import Question, question_hash, render_prefix, render_prompt, render_question

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
    assert render_prompt(MESSAGES, APOLOGY, few_shot=0) == (
        "Read the conversation, then answer the question about the last reply with yes or no.\n\n"
        "USER: How do I boil an egg?\n"
        "ASSISTANT: Ten minutes in {question} water.\n\n"
        "Does the reply contain exactly one short apology?"
    )


def test_all_questions_share_the_prefix() -> None:
    other = Question("other", "Is it long?")
    prefix = render_prefix(MESSAGES)
    assert render_prompt(MESSAGES, APOLOGY, 0).startswith(prefix)
    assert render_prompt(MESSAGES, other, 2) == prefix + "Is it long?"


def test_the_question_is_repeated_after_its_examples() -> None:
    assert render_question(APOLOGY, few_shot=2) == (
        "Does the reply contain exactly one short apology?\n\n"
        "Example:\nASSISTANT: I'm sorry, I can't.\nAnswer: yes\n\n"
        "Example:\nUSER: Name a color.\nASSISTANT: Red.\nAnswer: no\n\n"
        "Now answer for the conversation above. Does the reply contain exactly one short apology?"
    )


def test_the_hash_covers_the_text_that_the_grader_reads_and_nothing_else() -> None:
    renamed = Question("sorry", APOLOGY.text, APOLOGY.examples)
    fewer = Question("apology", APOLOGY.text, APOLOGY.examples[:2])
    reworded = Question("apology", "Is there an apology?", APOLOGY.examples)
    assert question_hash(renamed, 2) == question_hash(APOLOGY, 2) == question_hash(fewer, 2)
    assert len({question_hash(APOLOGY, shots) for shots in (0, 1, 2, 3)}) == 4
    assert question_hash(APOLOGY, 3) == question_hash(APOLOGY, 9)
    assert question_hash(reworded, 0) != question_hash(APOLOGY, 0)
