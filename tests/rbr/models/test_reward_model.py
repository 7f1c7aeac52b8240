from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rbr.errors import InputError
from rbr.models.reward_model import RewardModel
from rbr.profile import ModelRef
from tests.tiny_models import save_policy, save_reward_model

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
