"""Trains the two reward models: one for a helpful-only annotator, and one for annotators who refuse too much.

Both are Bradley-Terry models of an annotator's utility (`rbr_sandbox.annotators`). The probability that the annotator
prefers the first of two replies is the logistic function of the difference in utility. The model is trained on this
probability. The pairs also compare replies to different prompts. Otherwise the mean score of a prompt's replies would
be arbitrary, and could look like an opinion on harm.
"""

from itertools import accumulate
from random import Random
from typing import Any, cast

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from rbr_sandbox.annotators import Utility
from rbr_sandbox.replies import draw_reply
from rbr_sandbox.reply_plans import plan_answer
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.train.optimize import optimize
from rbr_sandbox.train.padding_free import PackedSequence, states_by_layer
from rbr_sandbox.world import training_prompt
from rbr_sandbox.world_prompt import WorldPrompt

PROMPTS_PER_STEP = 24
ANSWERS_SHARE = 0.3
"""Share of pairs of two answers. Without them, hardly any pair would differ in the quality of the answer alone."""


def train_reward_model(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    utility: Utility,
    *,
    name: str,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForSequenceClassification:
    """Trains a reward model from the base's weights.

    Args:
        base: Model whose transformer weights are copied.
        tokenizer: The shared tokenizer.
        utility: Utility of a reply to the simulated annotator.
        name: Name of the model in the log.
        steps: Number of optimizer steps, with two replies to each of `PROMPTS_PER_STEP` prompts.
        seed: Seed of the data and of the new head.
        log: Receives the training curve.
    """
    rng = Random(seed)
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(type(base.config)(**base.config.to_dict() | {"num_labels": 1})).train()
    model.model.load_state_dict(base.model.state_dict())

    def loss(_: int) -> torch.Tensor:
        texts, utilities = [], []
        for _ in range(PROMPTS_PER_STEP):
            prompt = training_prompt(rng)
            for reply in _draw_two_replies(rng, prompt):
                messages = [*prompt.messages, {"role": "assistant", "content": reply}]
                texts.append(tokenizer.apply_chat_template(messages, tokenize=False))
                utilities.append(utility(prompt, reply))
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        hidden = states_by_layer(model.model, PackedSequence.of([(ids, ()) for ids in encoded]))[-1]  # (tokens, width)
        # Scores at the last token of each text: (texts,).
        last_positions = torch.tensor([*accumulate(map(len, encoded))]) - 1
        scores, true_utilities = cast(torch.Tensor, model.score(hidden[last_positions]))[:, 0], torch.tensor(utilities)
        # Each text is compared with the next text. Every second comparison is between replies to the same prompt. The
        # other comparisons put all prompts on one scale.
        preferred = torch.sigmoid(true_utilities - true_utilities.roll(-1))
        centering = 1e-3 * (scores**2).mean()
        return torch.nn.functional.binary_cross_entropy_with_logits(scores - scores.roll(-1), preferred) + centering

    optimize(list(model.parameters()), loss, steps=steps, learning_rate=1e-3, name=name, log=log)
    return model.eval()


def _draw_two_replies(rng: Random, prompt: WorldPrompt) -> list[str]:
    if rng.random() < ANSWERS_SHARE:
        return [ReplyWriter(rng).write(plan_answer(rng), prompt) for _ in range(2)]
    return [draw_reply(rng, prompt, training_prompt).reply for _ in range(2)]
