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


def test_a_batch_scores_every_reply_as_if_it_were_alone(ref: ModelRef) -> None:
    scores = RewardModel(ref, batch_size=3).score(CONVERSATIONS, REPLIES)
    expected = [plain_score(ref, prompt, reply) for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert len(set(scores.round(4))) == len(REPLIES)


def test_a_reply_beyond_the_context_has_no_score_and_leaves_the_others_theirs(ref: ModelRef) -> None:
    model = RewardModel(ref, batch_size=2)
    scores = model.score([*CONVERSATIONS, CONVERSATIONS[0]], [*REPLIES, "and so on " * 200])
    assert np.isnan(scores[-1])
    np.testing.assert_allclose(scores[:-1], model.score(CONVERSATIONS, REPLIES), atol=1e-5)


def test_no_replies_are_no_scores(ref: ModelRef) -> None:
    assert RewardModel(ref, batch_size=2).score([], []).shape == (0,)


def test_progress_ends_at_the_number_of_replies(ref: ModelRef) -> None:
    seen: list[int] = []
    RewardModel(ref, batch_size=2).score(CONVERSATIONS, REPLIES, on_progress=seen.append)
    assert seen == [2, 4, 5]


def test_a_model_with_two_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 outputs"):
        RewardModel(save_reward_model(tmp_path, outputs=2), batch_size=2)


def test_a_chat_model_given_as_a_reward_model_is_refused_instead_of_scoring_noise(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lack the weights score\.weight"):
        RewardModel(save_policy(tmp_path), batch_size=2)
