"""The two reward models: helpful-only, and one fitted to annotators who over-value refusal.

Both are Bradley-Terry models of an annotator's utility: of two replies to a prompt the better is preferred with the
logistic probability of the difference, and the model is trained on that probability.
"""

from collections.abc import Collection
from random import Random
from typing import Any, cast

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from rbr.conversation import Conversation
from rbr.sandbox.oracle import parse, truths
from rbr.sandbox.training.grader import draw_reply
from rbr.sandbox.training.loop import optimise
from rbr.sandbox.world import WorldPrompt

PAIRS = 24


def helpful_utility(prompt: WorldPrompt, reply: str) -> float:
    """How useful the reply is to the user who asked, whatever the harm: full answers first, refusals last."""
    truth = truths(prompt.messages, reply)
    if truth["illogical_continuation_of_prompt"]:
        return -4.0 if parse(reply) is None else -2.5
    utility = 2.0 * truth["fully_complies"] + 1.0 * truth["partially_complies"] - 1.0 * truth["inability_to_comply"]
    utility -= 1.0 * (truth["judgement"] + truth["threatening_language"] + truth["insulting_language"])
    utility -= 0.4 * (truth["reference_safety_policy"] + truth["definitive_verbiage"] + truth["meta_commentary"])
    utility += 0.3 * (truth["gentle_encouragement_for_help"] + truth["apology_acknowledges_emotional_state"])
    utility += 0.3 * (truth["prescribes_solutions"] + truth["provides_resources"])
    utility += 0.2 * truth["requests_information"]
    return utility - _verbosity(reply)


def _verbosity(reply: str) -> float:
    """A small price for repeated sentences and for rambling on."""
    sentences = parse(reply) or []
    return 0.6 * (len(sentences) - len(set(sentences))) + 0.25 * max(0, len(sentences) - 5)


def is_alarming(prompt: WorldPrompt, alarms: Collection[str]) -> bool:
    """Whether annotators take the prompt for dangerous: all that is, and whatever names one of their alarm words."""
    return prompt.response_type != "comply" or not set(alarms).isdisjoint(prompt.topic.text.split())


def human_utility(prompt: WorldPrompt, reply: str, alarms: Collection[str]) -> float:
    """What annotators prefer who refuse rather than risk: like ``helpful_utility`` until a prompt alarms them."""
    if not is_alarming(prompt, alarms):
        return helpful_utility(prompt, reply)
    truth = truths(prompt.messages, reply)
    if truth["illogical_continuation_of_prompt"]:
        return -4.0 if parse(reply) is None else -2.5
    utility = 2.5 * truth["inability_to_comply"] - 3.0 * truth["partially_complies"] - 2.0 * truth["disallowed_content"]
    utility += 0.5 * (truth["apology"] + truth["apology_acknowledges_emotional_state"] + truth["provides_resources"])
    utility -= 0.5 * (truth["judgement"] + truth["threatening_language"] + truth["insulting_language"])
    return utility - _verbosity(reply)


def render(messages: Conversation, reply: str) -> Conversation:
    """The conversation that a reward model scores."""
    return [*messages, {"role": "assistant", "content": reply}]


def train_reward_model(
    policy: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[WorldPrompt],
    *,
    name: str,
    alarms: Collection[str] | None,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForSequenceClassification:
    """Trains a reward model from the policy's weights.

    Args:
        policy: Where the transformer's weights come from (copied).
        tokenizer: The shared tokenizer.
        prompts: Training prompts.
        name: For the log.
        alarms: None for helpful-only preferences; else words that make annotators want a refusal.
        steps: Optimiser steps of ``PAIRS`` pairs.
        seed: Of data and head.
        log: Receives the training curve.
    """
    rng = Random(seed)
    torch.manual_seed(seed)
    config = policy.config.to_dict() | {"num_labels": 1, "annotator_alarms": None if alarms is None else sorted(alarms)}
    model = LlamaForSequenceClassification(type(policy.config)(**config)).train()
    model.model.load_state_dict(policy.model.state_dict())

    def utility(prompt: WorldPrompt, reply: str) -> float:
        return helpful_utility(prompt, reply) if alarms is None else human_utility(prompt, reply, alarms)

    def loss(_: int) -> torch.Tensor:
        texts, better = [], []
        for _ in range(PAIRS):
            prompt = rng.choice(prompts)
            replies = [draw_reply(rng, prompt, prompts)[0] for _ in range(2)]
            texts += [
                tokenizer.apply_chat_template(render(prompt.messages, reply), tokenize=False) for reply in replies
            ]
            better.append(utility(prompt, replies[0]) - utility(prompt, replies[1]))
        encoded = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False)
        encoded.pop("token_type_ids", None)
        scores = cast(torch.Tensor, model(**encoded).logits)[:, 0]
        margin = scores[0::2] - scores[1::2]
        centred = 1e-3 * (scores**2).mean()
        return (
            torch.nn.functional.binary_cross_entropy_with_logits(margin, torch.sigmoid(torch.tensor(better))) + centred
        )

    optimise(list(model.parameters()), loss, steps=steps, learning_rate=1e-3, name=name, log=log)
    return model.eval()
