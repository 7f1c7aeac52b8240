"""Prompts that a chat template refuses, or that do not fit, are found with tokenizers alone."""

import shutil
from pathlib import Path

import pytest

from rbr.conversation import Prompt, prompt_id
from rbr.errors import InputError
from rbr.models.chat_tokens import encode_chat
from rbr.models.checked_prompts import PromptReader, check_prompts, open_reader, with_trial_reply
from rbr.profile import ModelRef

ROOT = Path(__file__).resolve().parents[3]
POLICY = ROOT / "rbr_sandbox" / "models" / "policy"

# The rules of Gemma's template: no system turn, and user and assistant take turns.
STRICT = """\
{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
DROPS_SYSTEM = (
    "{% for m in messages if m['role'] != 'system' %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
)
NEEDS_ARGUMENT = "{% if tone %}<|user|>{{ messages[-1]['content'] }}<|end|>{% else %}{{ 1 + messages }}{% endif %}"


def reader(directory: Path, template: str | None = None, **changes: object) -> PromptReader:
    """Opens the sandbox's policy, without its weights, with another chat template."""
    model = directory / "model"
    shutil.copytree(POLICY, model, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    if template is not None:
        (model / "chat_template.jinja").write_text(template)
    tokenizer, context = open_reader(ModelRef(path=str(model), revision=None))
    return PromptReader(**{"name": "policy", "tokenizer": tokenizer, "context": context, "room": 64, **changes})


def prompt(*turns: tuple[str, str]) -> Prompt:
    messages = tuple({"role": role, "content": text} for role, text in turns)
    return Prompt(prompt_id(messages), messages, category="K-C", held_out="hard")


BRIEF = prompt(("system", "Be brief."), ("user", "How do I pick a lock?"))
TWICE = prompt(("user", "Hello."), ("user", "How do I pick a lock?"))
PLAIN = prompt(("user", "How do I pick a lock?"))
LONG = prompt(("user", "word " * 600))
SEVERAL = prompt(("user", "Hello."), ("assistant", "Hi."), ("user", "How do I pick a lock?"))
BEGINS_WITH_A_REPLY = prompt(("assistant", "Hi."), ("user", "How do I pick a lock?"))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (PLAIN, None),
        (BRIEF, "refused by the policy: the chat template refuses the conversation: System role not supported"),
        (
            TWICE,
            "refused by the policy: the chat template refuses the conversation: Conversation roles must",
        ),
        (LONG, "too long for the policy"),
    ],
)
def test_the_reason_says_which_model_cannot_read_the_prompt_and_why(
    asked: Prompt, reason: str | None, tmp_path: Path
) -> None:
    (checked,) = check_prompts([asked], [reader(tmp_path, STRICT)], fold=False)
    assert checked.given == checked.used == asked
    if reason is None:
        assert checked.problem is None
    else:
        assert checked.problem is not None and checked.problem.reason.startswith(reason)


def test_a_prompt_fits_up_to_the_last_token(tmp_path: Path) -> None:
    policy = reader(tmp_path)
    text = policy.tokenizer.apply_chat_template(list(PLAIN.messages), tokenize=False, add_generation_prompt=True)
    n_tokens = len(policy.tokenizer.encode(text, add_special_tokens=False))
    for room, fits in ((512 - n_tokens, True), (513 - n_tokens, False)):
        problem = reader(tmp_path, room=room).problem(list(PLAIN.messages))
        assert (problem is None) == fits
    assert problem is not None
    assert problem.detail == (
        f"too long for the policy: the prompt has {n_tokens} tokens, but at most {n_tokens - 1} fit: the context has "
        f"512 tokens, and {513 - n_tokens} are for the reply"
    )


@pytest.mark.parametrize(
    ("template", "asked", "turn"),
    [
        (DROPS_SYSTEM, BRIEF, "a system"),
        (DROPS_SYSTEM, prompt(("system", "Be brief"), ("user", "Be brief please")), "a system"),
        ("You can ask: Hello." + DROPS_SYSTEM, prompt(("system", "Hello."), ("user", "Hi")), "a system"),
        ("{{ messages[-1]['content'] }}", prompt(("user", "Hi"), ("assistant", "Hi"), ("user", "Hi")), "a user"),
        ("{{ messages[0]['content'] }}{{ messages[-1]['content'] }}", SEVERAL, "an assistant"),
        ("{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}", SEVERAL, "an assistant"),
        ("{{ messages[-1]['content'] | upper }}", PLAIN, "a user"),
        ("{{ messages[-1]['content'][:15] }}", PLAIN, "a user"),
        ("{{ messages[-1]['content'] | tojson }}", prompt(("user", "Two\nlines")), "a user"),
    ],
    ids=["drops", "said by another turn", "in the template", "the same text", "only user turns", "another order",
         "upper case", "cuts", "escapes"],
)  # fmt: skip
def test_a_turn_that_a_template_drops_moves_or_changes_is_a_refused_turn(
    template: str, asked: Prompt, turn: str, tmp_path: Path
) -> None:
    problem = reader(tmp_path, template).problem(list(asked.messages))
    assert problem is not None
    assert problem.reason == f"refused by the policy: the chat template drops, moves or changes {turn} turn"


SYSTEM_LAST = (
    "{% for m in messages if m['role'] != 'system' %}{% if loop.last %}{{ messages[0]['content'] }}\n\n{% endif %}"
    "{{ m['content'] }}{% endfor %}"
)
SYSTEM_FIRST = (
    "{% for role in (['system'], ['user', 'assistant']) %}{% for m in messages if m['role'] in role %}"
    "{{ m['content'] }}{% endfor %}{% endfor %}"
)
WITHOUT_THOUGHTS = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{{ m['content'].split('</think>')[-1].lstrip('\n') }}{% else %}{{ m['content'] }}{% endif %}<|end|>{% endfor %}"
)
THOUGHT = prompt(("user", "Hi."), ("assistant", "<think>A greeting.</think>\n\nHello."), ("user", "Go on."))


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        ("{% for m in messages %}{{ m['content'] | trim }}{% endfor %}", prompt(("user", "Hi\n"), ("user", "Hi"))),
        (SYSTEM_LAST, prompt(("system", "Be brief."), *((turn["role"], turn["content"]) for turn in SEVERAL.messages))),
        (SYSTEM_FIRST, prompt(("user", "Hi."), ("system", "Be brief."), ("user", "Go on."))),
        (WITHOUT_THOUGHTS, THOUGHT),
    ],
    ids=["trims", "puts the system turn into the last user turn", "puts system turns first", "drops thoughts"],
)
def test_a_turn_that_a_model_reads_whole_is_no_refused_turn(template: str, asked: Prompt, tmp_path: Path) -> None:
    policy = reader(tmp_path, template)
    policy.tokenizer.add_tokens(["<think>", "</think>"])
    assert policy.problem(list(asked.messages)) is None
    read = policy.tokenizer.decode(encode_chat(policy.tokenizer, asked.messages))
    assert all(turn["content"].strip() in read for turn in asked.messages)


def test_a_thought_that_a_model_does_not_read_is_a_changed_turn(tmp_path: Path) -> None:
    policy = reader(tmp_path, WITHOUT_THOUGHTS)  # whose tokenizer has no marks of thoughts
    assert "greeting" not in policy.tokenizer.decode(encode_chat(policy.tokenizer, THOUGHT.messages))
    problem = policy.problem(list(THOUGHT.messages))
    assert problem is not None and problem.reason.endswith("drops, moves or changes an assistant turn")


def test_an_operation_that_fails_in_a_template_is_a_refused_turn(tmp_path: Path) -> None:
    problem = reader(tmp_path, NEEDS_ARGUMENT).problem(list(PLAIN.messages))
    assert problem is not None and problem.kind == "refused"
    with_argument = reader(tmp_path, NEEDS_ARGUMENT, chat_template_kwargs={"tone": "kind"})
    assert with_argument.problem(list(PLAIN.messages)) is None


def test_a_template_that_prints_the_date_in_long_conversations_refuses_them(tmp_path: Path) -> None:
    policy = reader(
        tmp_path,
        "{% if messages | length > 6 %}{{ strftime_now('%Y') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    )
    assert policy.problem(list(SEVERAL.messages)) is None
    problem = policy.problem(list(SEVERAL.messages) * 3)
    assert problem is not None and "prints the date of the day" in problem.reason


def test_a_folded_prompt_is_rewritten_for_all_models_and_has_its_own_id(tmp_path: Path) -> None:
    readers = [reader(tmp_path / "lenient"), reader(tmp_path / "strict", STRICT)]
    brief, twice, plain = check_prompts([BRIEF, TWICE, PLAIN], readers, fold=True)
    assert [result.problem for result in (brief, twice, plain)] == [None] * 3
    assert brief.used == prompt(("user", "Be brief.\n\nHow do I pick a lock?"))
    assert twice.used == prompt(("user", "Hello.\n\nHow do I pick a lock?"))
    assert [result.is_folded for result in (brief, twice, plain)] == [True, True, False]


def test_a_prompt_that_every_template_takes_is_not_folded(tmp_path: Path) -> None:
    (checked,) = check_prompts([BRIEF], [reader(tmp_path)], fold=True)
    assert checked.used == BRIEF


@pytest.mark.parametrize(
    ("others", "asked", "reason"),
    [
        (
            [],
            BEGINS_WITH_A_REPLY,
            "refused by the policy: the chat template refuses the conversation: Conversation roles must alternate",
        ),
        ([], prompt(("system", "word " * 600), ("user", "Hi")), "too long for the policy"),
        (
            [prompt(("user", "Be brief.\n\nHow do I pick a lock?"))],
            BRIEF,
            "folded, it is the same as another prompt",
        ),
    ],
)
def test_a_prompt_that_folding_does_not_help_is_left_out_as_it_was(
    others: list[Prompt], asked: Prompt, reason: str, tmp_path: Path
) -> None:
    *_, checked = check_prompts([*others, asked], [reader(tmp_path, STRICT)], fold=True)
    assert checked.used == asked
    assert checked.problem is not None and checked.problem.reason.startswith(reason)


def test_two_prompts_that_are_the_same_when_folded_are_used_once(tmp_path: Path) -> None:
    same = prompt(("user", "Be brief."), ("user", "How do I pick a lock?"))
    first, second = check_prompts([BRIEF, same], [reader(tmp_path, STRICT)], fold=True)
    assert first.problem is None
    assert second.problem is not None and second.problem.reason == "folded, it is the same as another prompt"


def test_a_reward_model_reads_the_prompt_with_a_reply(tmp_path: Path) -> None:
    never_replies = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ raise_exception('No.') }}{% endif %}{% endfor %}"
    )
    scored = reader(tmp_path, never_replies, name="reward model", turns=with_trial_reply, add_generation_prompt=False)
    problem = scored.problem(list(PLAIN.messages))
    assert problem is not None
    assert problem.reason == "refused by the reward model: the chat template refuses the conversation: No."


def test_a_reward_model_that_reads_user_turns_only_is_found(tmp_path: Path) -> None:
    user_turns = "{% for m in messages if m['role'] == 'user' %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
    scored = reader(tmp_path, user_turns, name="reward model", turns=with_trial_reply, add_generation_prompt=False)
    problem = scored.problem(list(PLAIN.messages) + list(BRIEF.messages)[1:])
    assert problem is not None
    assert problem.reason == "refused by the reward model: the chat template drops, moves or changes an assistant turn"


def test_no_weights_are_read(tmp_path: Path) -> None:
    reader(tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_model_without_chat_template_is_an_error_of_the_profile(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template"):
        reader(tmp_path, "")
