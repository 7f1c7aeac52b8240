import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rbr.errors import InputError
from rbr.models.reward_model import RewardModel
from rbr.profile import ModelRef
from tests.tiny_models import ORIGINAL_LENGTH, TEMPLATE, save_family, save_policy, save_reward_model

PROMPTS = ["Hi", "How do I boil an egg?", "Tell me a story.", "Why?", "I feel low today."]
REPLIES = [
    "Hello.",
    "",
    "Once upon a time there was a boat, and it sailed away.",
    "I can't say.",
    "I'm sorry.",
]
CONVERSATIONS = [[{"role": "user", "content": text}] for text in PROMPTS]


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_reward_model(tmp_path_factory.mktemp("reward_model"))


def plain_score(ref: ModelRef, prompt: str, reply: str) -> float:
    tokenizer = AutoTokenizer.from_pretrained(ref.path)
    model = AutoModelForSequenceClassification.from_pretrained(ref.path)
    text = f"<|user|>{prompt}<|end|><|assistant|>{reply}<|end|>"
    with torch.inference_mode():
        return float(model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits)


def test_a_score_is_the_same_alone_and_in_a_batch(ref: ModelRef) -> None:
    scores = RewardModel(ref, batch_size=3).score(CONVERSATIONS, REPLIES)
    expected = [plain_score(ref, prompt, reply) for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert len(set(scores.round(4))) == len(REPLIES)


def test_a_reply_that_exceeds_the_context_has_no_score_and_does_not_affect_the_others(ref: ModelRef) -> None:
    model = RewardModel(ref, batch_size=2)
    scores = model.score([*CONVERSATIONS, CONVERSATIONS[0]], [*REPLIES, "and so on " * 200])
    assert np.isnan(scores[-1])
    np.testing.assert_allclose(scores[:-1], model.score(CONVERSATIONS, REPLIES), atol=1e-5)


def test_no_replies_give_no_scores(ref: ModelRef) -> None:
    assert RewardModel(ref, batch_size=2).score([], []).shape == (0,)


def test_progress_ends_at_the_number_of_replies(ref: ModelRef) -> None:
    reported: list[int] = []
    RewardModel(ref, batch_size=2).score(CONVERSATIONS, REPLIES, on_progress=reported.append)
    assert reported == [2, 4, 5]


def test_a_model_with_two_outputs_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 outputs"):
        RewardModel(save_reward_model(tmp_path, outputs=2), batch_size=2)


def test_a_chat_model_is_rejected_as_a_reward_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lack the weights score\.weight"):
        RewardModel(save_policy(tmp_path), batch_size=2)


def save_reward_model_that_pads_with_its_end_token(directory: Path) -> ModelRef:
    ref = save_reward_model(directory)
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((directory / name).read_text())
        settings |= {"pad_token_id": None} if name == "config.json" else {"pad_token": None}
        (directory / name).write_text(json.dumps(settings))
    return ref


def head_at_the_last_token(ref: ModelRef, prompt: str, reply: str, padding: int) -> float:
    """The head's value at the last token, with `padding` masked tokens before the row."""
    tokenizer = AutoTokenizer.from_pretrained(ref.path)
    model: Any = AutoModelForSequenceClassification.from_pretrained(ref.path).eval()
    text = f"<|user|>{prompt}<|end|><|assistant|>{reply}<|end|>"
    ids = tokenizer(text, return_token_type_ids=False)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    mask = torch.tensor([[0] * padding + [1] * len(ids)])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        hidden = model.model(
            input_ids=torch.tensor([[tokenizer.eos_token_id] * padding + ids]),
            attention_mask=mask,
            position_ids=positions,
        ).last_hidden_state
        return float(model.score(hidden[0, -1]))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_a_reply_is_scored_at_its_last_token_even_if_the_padding_token_is_the_end_token(
    tmp_path: Path, batch_size: int, padding_side: str
) -> None:
    ref = save_reward_model_that_pads_with_its_end_token(tmp_path)
    model = RewardModel(ref, batch_size)
    model._tokenizer.padding_side = padding_side
    assert model._tokenizer.pad_token_id == model._tokenizer.eos_token_id
    scores = model.score(CONVERSATIONS, REPLIES)
    for padding in (0, 3):
        rows = zip(PROMPTS, REPLIES, strict=True)
        expected = [head_at_the_last_token(ref, prompt, reply, padding) for prompt, reply in rows]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_score_that_is_not_finite_is_missing(ref: ModelRef) -> None:
    model = RewardModel(ref, batch_size=5)
    weight = model._model.score.weight
    with torch.no_grad():
        for value in (torch.inf, -torch.inf, torch.nan):
            weight.fill_(value)
            assert np.isnan(model.score(CONVERSATIONS, REPLIES)).all()


def test_a_spelled_out_control_token_is_text(ref: ModelRef) -> None:
    model = RewardModel(ref, batch_size=1)
    seen: list[list[int]] = []
    model._model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"][0].tolist()), with_kwargs=True
    )
    model.score([[{"role": "user", "content": "Hi"}]], ["Sure<|end|><|pad|>"])
    assert seen[0].count(model._tokenizer.eos_token_id) == 2
    assert model._tokenizer.pad_token_id not in seen[0]


LONG_REPLIES = ["Hello.", "It is " * 9, "and so on " * 5, "Well, " * 30, "No."]


@pytest.mark.parametrize("family", ["Phi-3 with long RoPE", "PhiMoE with long RoPE"])
def test_a_score_does_not_depend_on_the_lengths_of_the_other_replies(tmp_path: Path, family: str) -> None:
    model = RewardModel(save_family(tmp_path, family, AutoModelForSequenceClassification, num_labels=1), batch_size=5)
    rows = zip(CONVERSATIONS, LONG_REPLIES, strict=True)
    lengths = [len(model._encode([*messages, {"role": "assistant", "content": reply}])) for messages, reply in rows]
    assert min(lengths) < ORIGINAL_LENGTH < max(lengths)
    rows = zip(CONVERSATIONS, LONG_REPLIES, strict=True)
    alone = [model.score([messages], [reply])[0] for messages, reply in rows]
    np.testing.assert_allclose(model.score(CONVERSATIONS, LONG_REPLIES), alone, atol=1e-5)


def test_a_model_with_dynamic_rope_reads_no_more_than_its_original_length(tmp_path: Path) -> None:
    family = "Llama with dynamic RoPE"
    model = RewardModel(save_family(tmp_path, family, AutoModelForSequenceClassification, num_labels=1), batch_size=5)
    before = model.score(CONVERSATIONS, REPLIES)
    together = model.score([*CONVERSATIONS, CONVERSATIONS[0]], [*REPLIES, "Well, " * 30])
    assert np.isnan(together[-1])
    np.testing.assert_allclose(together[:-1], before, atol=1e-5)


class CountsColumns(torch.nn.Module):
    """A reward model that adds the number of columns to the score, and so reads the padding."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.device, self.dtype, self.config = inner.device, inner.dtype, inner.config

    def forward(self, **inputs: Any) -> Any:
        output = self.inner(**inputs)
        output.logits = output.logits + inputs["input_ids"].shape[1]
        return output


def test_a_model_that_reads_the_padding_scores_one_reply_at_a_time(
    ref: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: Any = AutoModelForSequenceClassification.from_pretrained(ref.path).eval()
    monkeypatch.setattr("rbr.models.reward_model.open_model", lambda *_: CountsColumns(inner))
    model = RewardModel(ref, batch_size=5)
    alone = [model.score([c], [r])[0] for c, r in zip(CONVERSATIONS, REPLIES, strict=True)]
    np.testing.assert_allclose(model.score(CONVERSATIONS, REPLIES), alone, atol=1e-5)
    assert RewardModel(ref, batch_size=5)._batch_size == 1
    monkeypatch.undo()
    assert RewardModel(ref, batch_size=5)._batch_size == 5


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        ("message['content'] | lower", "capital letters, letters with accents and other scripts"),
        ("message['content'] | e", "the characters < > & ' \", the marks <think> and </think>"),
        ("message['content'].replace('/no_think', '')", "the switch /no_think"),
        ("message['content'][:3000]", "the end of a text of 20,000 characters"),
        ("message['content'].split('</think>')[-1]", "the marks <think> and </think>"),
    ],
)
def test_a_chat_template_that_changes_replies_is_refused(tmp_path: Path, content: str, changed: str) -> None:
    ref = save_reward_model(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE.replace("message['content']", f"({content})"))
    with pytest.raises(InputError) as caught:
        RewardModel(ref, batch_size=1)
    assert caught.value.what == f"the chat template changes the text of a reply: {changed}"


@pytest.mark.parametrize("content", ["message['content'] | trim", "message['content'].lstrip('\n')"])
def test_a_chat_template_may_trim_a_reply(tmp_path: Path, content: str) -> None:
    ref = save_reward_model(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE.replace("message['content']", f"({content})"))
    assert np.isfinite(RewardModel(ref, batch_size=1).score(CONVERSATIONS[:1], ["Hello."])).all()


def test_a_chat_template_that_takes_a_thought_from_a_reply_sees_no_token_of_the_reply(tmp_path: Path) -> None:
    ref = save_reward_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(ref.path)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1]")
    tokenizer.save_pretrained(tmp_path)
    model = RewardModel(ref, batch_size=1)
    ids = model._encode([*CONVERSATIONS[0], {"role": "assistant", "content": "[harmful steps]</think>No."}])
    assert "[harmful steps]</think>No." in model._tokenizer.decode(ids)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_scores_of_any_size_are_the_same_alone_and_in_a_batch(tmp_path: Path, scale: float) -> None:
    save_family(tmp_path, "BART, which counts padding", AutoModelForSequenceClassification, num_labels=1)
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        for weights in saved.classification_head.out_proj.parameters():
            weights.mul_(scale)
    saved.save_pretrained(tmp_path)
    assert RewardModel(ModelRef(path=str(tmp_path), revision=None), batch_size=5)._batch_size == 1
