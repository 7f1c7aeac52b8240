"""The text around a reply of a policy whose chat template opens a thought."""

import pytest

from rbr.errors import InputError
from rbr.models.thinking_turn import ThinkingTurn, thinking_turn
from tests.tiny_models import TEMPLATE, tiny_tokenizer

TURNS = "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
END = "{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
WRITES_EMPTY_THOUGHT = (
    TURNS + "{% if message['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ message['content'] }}<|end|>\n"
)
LEAVES_REPLIES_OUT = TURNS + "{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}<|end|>"


def opening(generation_prompt: str) -> str:
    return TEMPLATE.replace("{% endif %}", f"{generation_prompt}{{% endif %}}")


@pytest.mark.parametrize(
    ("template", "turn"),
    [
        pytest.param(TEMPLATE, None, id="no thought"),
        pytest.param(opening("<think>\n\n</think>\n\n"), None, id="an empty thought in the prompt"),
        pytest.param(opening("<think>\n"), ThinkingTurn("\n</think>\n\n", "<|end|>"), id="mark and line break"),
        pytest.param(opening("<think>"), ThinkingTurn("\n\n</think>\n\n", "<|end|>"), id="mark alone"),
        pytest.param(opening("[THINK]"), ThinkingTurn("[/THINK]", "<|end|>"), id="another kind of mark"),
        pytest.param(
            WRITES_EMPTY_THOUGHT + END, ThinkingTurn("\n</think>\n\n", "<|end|>\n"), id="the template writes the end"
        ),
    ],
)
def test_the_thought_ends_as_templates_write_an_empty_one(template: str, turn: ThinkingTurn | None) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    assert thinking_turn(tokenizer, {}) == turn


def test_a_template_that_leaves_out_replies_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = LEAVES_REPLIES_OUT + END
    with pytest.raises(InputError, match=r"leaves out the reply.*\n.*Set chat_template_kwargs"):
        thinking_turn(tokenizer, {})
