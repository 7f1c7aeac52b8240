"""Rendering a chat template: the errors of a template are errors of the input, and no template knows the date."""

import datetime

import pytest

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.models.chat_template import DatedTemplateError, render_chat
from tests.tiny_models import TEMPLATE, tiny_tokenizer

HI: Conversation = [{"role": "user", "content": "Hi"}]
SEVEN_TURNS: Conversation = [*HI, *([{"role": "assistant", "content": "Hello."}, *HI] * 3)]  # type: ignore[list-item]


def rendered(template: str, messages: Conversation = HI, **kwargs: object) -> str:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return render_chat(tokenizer, messages, True, kwargs)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('System role not supported') }}", "refuses the conversation: System role not supported"),
        ("{{ foo() }}", "refuses the conversation: 'foo' is undefined"),
        ("{% for m in %}", "refuses the conversation: Expected an expression"),
        ("{{ 1 // (messages | length - 1) }}", "fails: integer division or modulo by zero"),
        ("{{ 'a' + 1 }}", "fails: can only concatenate str"),
        ("{{ 1 | xmlattr }}", "fails: 'int' object has no attribute 'items'"),
        ("{{ range(1000000) }}", "fails: Range too big"),
        ("{{ messages[0].content.encode('ascii').index('x') }}", "fails: "),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "fails: "),
    ],
)
def test_the_error_of_a_template_has_its_words(template: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        rendered(template)
    assert caught.value.what.startswith(f"the chat template {words}")
    assert caught.value.hint == "The turns are: user."


@pytest.mark.parametrize(
    "template",
    [
        "{{ strftime_now('%d %b %Y') }}" + TEMPLATE,
        "{% if strftime_now('%A') == 'Sunday' %}Rest.{% endif %}" + TEMPLATE,
        "{% if strftime_now is defined %}{{ strftime_now(format='%Y') }}{% endif %}" + TEMPLATE,
        "{% macro today() %}{{ strftime_now('%Y') }}{% endmacro %}{% for m in messages %}{{ today() }}{% endfor %}",
        "{% if messages | length > 6 %}{{ strftime_now('%Y') }}{% endif %}" + TEMPLATE,
    ],
    ids=["printed", "compared", "if there is a clock", "in a macro", "in long conversations"],
)
def test_a_template_that_asks_for_the_date_is_refused_while_it_is_rendered(template: str) -> None:
    with pytest.raises(DatedTemplateError, match="the chat template prints the date of the day"):
        rendered(template, SEVEN_TURNS)


@pytest.mark.parametrize(
    ("template", "kwargs", "text"),
    [
        ("{{ today or strftime_now('%Y') }}", {"today": "26 Jul 2024"}, "26 Jul 2024"),
        ("  {% if messages %}\n  {{ 'Hi' }}\n  {% endif %}\n{# strftime_now #}\n", {}, "  Hi\n"),
        ("{{ strftime_now('%Y') }}", {"chat_template": "Hi"}, "Hi"),
    ],
    ids=["pinned", "only in a comment", "another template"],
)
def test_a_template_that_does_not_ask_for_the_date_has_its_usual_text(
    template: str, kwargs: dict[str, str], text: str
) -> None:
    assert rendered(template, **kwargs) == text


def test_other_users_of_a_tokenizer_still_get_the_date() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%Y') }}"
    with pytest.raises(DatedTemplateError):
        render_chat(tokenizer, HI, True, {})
    assert tokenizer.apply_chat_template(HI, tokenize=False) == f"{datetime.date.today():%Y}"
