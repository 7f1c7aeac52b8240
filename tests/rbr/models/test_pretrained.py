"""Opening tokenizers: templates that print the date are refused, and no code of a model runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.models.policy import Policy
from rbr.models.pretrained import context_length, context_limit, open_model, open_tokenizer
from rbr.models.prompt_check import prompt_problem
from rbr.models.reward_model import RewardModel
from rbr.profile import ModelRef
from tests.tiny_models import TEMPLATE, save_family, save_policy, save_reward_model, tiny_tokenizer

DATE = "{{ strftime_now('%d %b %Y') }}"
DATE_STRING = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
)
REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"


def policy_with(directory: Path, template: str, **kwargs: object) -> ModelRef:
    ref = save_policy(directory)
    (directory / "chat_template.jinja").write_text(template)
    return ref.model_copy(update={"chat_template_kwargs": kwargs})


@pytest.mark.parametrize("stored", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("named", [None, "float32", "bfloat16", "float16"])
def test_a_model_computes_in_the_type_that_the_profile_names_and_not_in_that_of_its_files(
    tmp_path: Path, stored: torch.dtype, named: str | None
) -> None:
    ref = save_policy(tmp_path)
    AutoModelForCausalLM.from_pretrained(tmp_path, dtype=stored).save_pretrained(tmp_path)
    ref = ModelRef(path=ref.path, revision=None, **({} if named is None else {"dtype": named}))
    assert open_model(AutoModelForCausalLM, ref).dtype == getattr(torch, named or "float32")


@pytest.mark.parametrize(
    "template",
    [
        DATE + TEMPLATE,
        TEMPLATE + "{{ strftime_now('%Y') }}",
        DATE_STRING + TEMPLATE,
        "{% if messages[0]['role'] == 'system' %}" + DATE + "{% endif %}" + TEMPLATE,
        "{% if messages[0]['role'] != 'system' %}" + DATE + "{% endif %}" + TEMPLATE,
        REFUSES_SYSTEM + DATE + TEMPLATE,
        "{{ strftime_now('%A') }}" + TEMPLATE,
        "{% if messages | length > 3 %}" + DATE + "{% endif %}" + TEMPLATE,
        "{% set today = strftime_now('%Y') %}" + TEMPLATE,
    ],
    ids=["before", "year", "if not pinned", "with a system turn", "without a system turn", "refuses a system turn",
         "weekday", "from the fourth turn on", "asked for, not printed"],
)  # fmt: skip
def test_a_template_that_prints_the_date_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(InputError, match="the chat template prints the date of the day"):
        open_tokenizer(policy_with(tmp_path, template))


@pytest.mark.parametrize(
    ("template", "kwargs"),
    [
        (TEMPLATE, {}),
        (DATE_STRING + TEMPLATE, {"date_string": "26 Jul 2024"}),
        ("{% if tools %}" + DATE + "{% endif %}" + TEMPLATE, {}),
        ("{# strftime_now #}Today is 26 Jul 2024." + TEMPLATE, {}),
        (REFUSES_SYSTEM + TEMPLATE, {}),
    ],
)
def test_a_template_with_a_fixed_text_is_opened(tmp_path: Path, template: str, kwargs: dict[str, str]) -> None:
    assert open_tokenizer(policy_with(tmp_path, template, **kwargs)).chat_template


def test_the_hint_names_the_argument_that_pins_the_date(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_tokenizer(policy_with(tmp_path, DATE_STRING + TEMPLATE))
    assert "chat_template_kwargs: {date_string: 26 Jul 2024}" in error.value.hint


def without_special_names(directory: Path, *, special_tokens: bool) -> None:
    """Takes the padding and the end token from a saved tokenizer; without `special_tokens`, all special tokens."""
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": None, "eos_token": None}))
    if not special_tokens:
        tokenizer = json.loads((directory / "tokenizer.json").read_text())
        (directory / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": []}))


def test_a_tokenizer_without_padding_and_end_token_pads_with_a_special_token(tmp_path: Path) -> None:
    prompts: list[Conversation] = [[{"role": "user", "content": text}] for text in ("Hi", "How do I boil an egg?")]
    policy, reward_model = save_policy(tmp_path / "policy"), save_reward_model(tmp_path / "reward_model")
    usual = RewardModel(reward_model, 1).score(prompts, ["Yes", "No"])
    for ref in (policy, reward_model):
        without_special_names(Path(ref.path), special_tokens=True)
    tokenizer = open_tokenizer(policy)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (None, "<|pad|>")
    np.testing.assert_allclose(RewardModel(reward_model, 2).score(prompts, ["Yes", "No"]), usual, atol=1e-5)
    alone = [Policy(policy, 1).sample([prompts[row]], [row], 1.0, 1.0, 8)[0] for row in (0, 1)]
    assert Policy(policy, 2).sample(prompts, [0, 1], 1.0, 1.0, 8) == alone


def test_a_tokenizer_without_any_special_token_is_refused(tmp_path: Path) -> None:
    ref = save_policy(tmp_path)
    without_special_names(tmp_path, special_tokens=False)
    with pytest.raises(InputError, match="no special token") as caught:
        open_tokenizer(ref)
    assert "pad_token" in caught.value.hint


def test_code_that_comes_with_a_model_does_not_run(tmp_path: Path) -> None:
    ref = save_policy(tmp_path)
    marker = tmp_path / "ran"
    (tmp_path / "custom.py").write_text(f"open({str(marker)!r}, 'w')\n")
    for name, key in (("config.json", "AutoConfig"), ("tokenizer_config.json", "AutoTokenizer")):
        settings = json.loads((tmp_path / name).read_text())
        value = ["custom.Custom", None] if key == "AutoTokenizer" else "custom.Custom"
        settings["auto_map"] = {key: value, "AutoModelForCausalLM": "custom.Custom"}
        settings["model_type" if key == "AutoConfig" else "tokenizer_class"] = "Custom"
        (tmp_path / name).write_text(json.dumps(settings))
    tokenizer = tiny_tokenizer()
    for open_it in (
        open_tokenizer,
        lambda ref: context_limit(ref, tokenizer),
        lambda ref: open_model(AutoModelForCausalLM, ref),
    ):
        with pytest.raises(InputError, match="cannot be opened"):
            open_it(ref)
    assert not marker.exists()


def write_json(name: str, **changes: Any) -> Callable[[Path], object]:
    """Changes settings of a JSON file."""

    def write(directory: Path) -> None:
        file = directory / name
        settings = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**settings, **changes}))

    return write


def write_text(name: str, content: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_text(content)


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(write_text("model.safetensors", ""), "SafetensorError", id="empty weights"),
        pytest.param(write_text("model.safetensors", LFS_POINTER), "SafetensorError", id="weights of Git LFS"),
        pytest.param(write_text("tokenizer.json", LFS_POINTER), "", id="tokenizer of Git LFS"),
        pytest.param(write_text("tokenizer.json", '{"model": {"type": "X"}}'), "KeyError", id="another tokenizer"),
        pytest.param(write_text("config.json", "{"), "config.json", id="cut configuration"),
        pytest.param(write_text("config.json", "[]"), "TypeError", id="configuration is a list"),
        pytest.param(write_json("config.json", hidden_size=64), "RuntimeError", id="other sizes"),
        pytest.param(
            write_json("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "", id="quantized"
        ),
        pytest.param(write_text("generation_config.json", "[]"), "TypeError", id="generation settings are a list"),
        pytest.param(
            write_json("generation_config.json", num_return_sequences=2), "num_return_sequences", id="two replies"
        ),
        pytest.param(write_json("generation_config.json", compile_config={}), "compile_config", id="odd setting"),
    ],
)
def test_files_with_errors_are_input_errors_with_the_words_of_the_library(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    ref = save_policy(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=f"the model cannot be opened: .*{words}") as caught:
        Policy(ref, batch_size=1)
    assert str(tmp_path) in str(caught.value)


def test_the_hint_for_a_missing_package_is_to_install_it(tmp_path: Path) -> None:
    ref = save_policy(tmp_path)
    write_json("config.json", quantization_config={"quant_method": "gptq", "bits": 4})(tmp_path)
    with pytest.raises(InputError) as caught:
        open_model(AutoModelForCausalLM, ref)
    assert caught.value.hint.startswith("Install the package")


def test_the_context_limit_is_read_without_the_weights(tmp_path: Path) -> None:
    ref = save_policy(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert context_limit(ref, open_tokenizer(ref)) == 256


@pytest.mark.parametrize(
    ("settings", "longest", "limit"),
    [
        pytest.param({"max_position_embeddings": 256}, None, 256, id="max_position_embeddings"),
        pytest.param({"n_positions": 256}, None, 256, id="n_positions"),
        pytest.param({"max_seq_len": 256}, None, 256, id="max_seq_len"),
        pytest.param({"max_sequence_length": 256}, None, 256, id="max_sequence_length"),
        pytest.param({"seq_length": 256}, None, 256, id="seq_length"),
        pytest.param({"max_position_embeddings": -1, "seq_length": 256}, None, 256, id="-1 is no limit"),
        pytest.param({"max_position_embeddings": 514}, 512, 512, id="the tokenizer's limit is smaller"),
        pytest.param({"max_position_embeddings": 256}, 4096, 256, id="the tokenizer's limit is larger"),
        pytest.param({"max_position_embeddings": 256}, 0, 256, id="the tokenizer's limit is 0"),
        pytest.param({}, 512, 512, id="only the tokenizer has a limit"),
        pytest.param({}, None, 2**31, id="no limit"),
    ],
)
def test_the_context_is_read_from_the_configuration_and_the_tokenizer(
    tmp_path: Path, settings: dict[str, int], longest: int | None, limit: int
) -> None:
    tokenizer = tiny_tokenizer()
    if longest is not None:
        tokenizer.model_max_length = longest
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba", **settings}))
    assert context_limit(ModelRef(path=str(tmp_path), revision=None), tokenizer) == limit


def test_a_model_of_another_family_has_its_own_name_for_the_context(tmp_path: Path) -> None:
    ref = save_family(tmp_path, "MPT", AutoModelForCausalLM)
    tokenizer = open_tokenizer(ref)
    assert context_limit(ref, tokenizer) == context_length(open_model(AutoModelForCausalLM, ref), tokenizer) == 96


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        (["Hi"], None),
        (["system:Be brief.", "Hi"], "the chat template refuses the conversation: System role not supported"),
        (["a b " * 80], "but at most 156 fit: the context has 256 tokens, and 100 are for the reply"),
    ],
)
def test_the_problem_of_a_prompt_is_told(tmp_path: Path, turns: list[str], problem: str | None) -> None:
    ref = policy_with(tmp_path, REFUSES_SYSTEM + TEMPLATE)
    split = [turn.rpartition(":") for turn in turns]
    messages = [{"role": role or "user", "content": content} for role, _, content in split]
    tokenizer = open_tokenizer(ref)
    limit = context_limit(ref, tokenizer)
    found = prompt_problem(tokenizer, messages, limit=limit, new_tokens=100)  # type: ignore[arg-type]
    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_prompt_fits_if_exactly_its_reply_fits_after_it(tmp_path: Path, spare: int) -> None:
    ref = save_policy(tmp_path)
    tokenizer = open_tokenizer(ref)
    messages = [{"role": "user", "content": "How do I boil an egg?"}]
    n_tokens = len(tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"])
    problem = prompt_problem(tokenizer, messages, limit=n_tokens + 10, new_tokens=11 - spare)  # type: ignore[arg-type]
    assert (problem is None) == bool(spare)
