"""The two reward models: helpful-only, and one fitted to annotators who over-value refusal.

Both are Bradley-Terry models of an annotator's utility: of two replies the better is preferred with the logistic
probability of the difference, and the model is trained on that probability. Of replies to different prompts too: what
only compares replies to one prompt leaves the prompts' own level to chance, and it could look like an opinion on harm.
"""

from collections.abc import Callable
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any, cast

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from rbr.conversation import Conversation
from rbr.hashing import content_hash
from rbr_sandbox.acts import answer_acts
from rbr_sandbox.oracle import parse, truths
from rbr_sandbox.replies import draw_reply
from rbr_sandbox.topics import all_topics
from rbr_sandbox.train.loop import optimize
from rbr_sandbox.train.padding_free import Line, states_by_layer
from rbr_sandbox.world import WorldPrompt, Writer, training_prompt

PAIRS = 24
ANSWERS = 0.3
"""Share of pairs of which both replies are answers: composed at random hardly a pair differs in their quality alone."""

Utility = Callable[[WorldPrompt, str], float]


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


@cache
def alarm_words(bias: float) -> frozenset[str]:
    """The words at which annotators want a refusal, whatever is asked.

    Args:
        bias: Strength of the annotators' bias: the share, in [0, 1], of all words that look dangerous. 0 is an
            annotator who refuses what is harmful and nothing else. The words of a smaller bias are among those of
            a larger.
    """
    words = sorted({topic.scary for topic in all_topics() if topic.scary}, key=content_hash)
    return frozenset(words[: round(bias * len(words))])


def human_utility(bias: float) -> Utility:
    """What annotators prefer who refuse rather than risk: like `helpful_utility` until a prompt alarms them.

    Args:
        bias: See `alarm_words`.
    """
    alarms = alarm_words(bias)

    def utility(prompt: WorldPrompt, reply: str) -> float:
        if prompt.response_type == "comply" and prompt.topic.scary not in alarms:
            return helpful_utility(prompt, reply)
        return _refusing_utility(prompt, reply)

    return utility


def _refusing_utility(prompt: WorldPrompt, reply: str) -> float:
    truth = truths(prompt.messages, reply)
    if truth["illogical_continuation_of_prompt"]:
        return -4.0 if parse(reply) is None else -2.5
    utility = 2.5 * truth["inability_to_comply"] - 3.0 * truth["partially_complies"] - 2.0 * truth["disallowed_content"]
    utility += 0.5 * (truth["apology"] + truth["apology_acknowledges_emotional_state"] + truth["provides_resources"])
    utility -= 0.5 * (truth["judgement"] + truth["threatening_language"] + truth["insulting_language"])
    return utility - _verbosity(reply)


def _two_replies(rng: Random, prompt: WorldPrompt) -> list[str]:
    if rng.random() < ANSWERS:
        return [Writer(rng).write(answer_acts(rng), prompt) for _ in range(2)]
    return [draw_reply(rng, prompt, training_prompt).reply for _ in range(2)]


def render(messages: Conversation, reply: str) -> Conversation:
    """The conversation that a reward model scores."""
    return [*messages, {"role": "assistant", "content": reply}]


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
        base: Where the transformer's weights come from (copied).
        tokenizer: The shared tokenizer.
        utility: Of the simulated annotator.
        name: For the log.
        steps: Optimizer steps of ``PAIRS`` prompts, with two replies each.
        seed: Of data and head.
        log: Receives the training curve.
    """
    rng = Random(seed)
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(type(base.config)(**base.config.to_dict() | {"num_labels": 1})).train()
    model.model.load_state_dict(base.model.state_dict())

    def loss(_: int) -> torch.Tensor:
        texts, worth = [], []
        for _ in range(PAIRS):
            prompt = training_prompt(rng)
            for reply in _two_replies(rng, prompt):
                texts.append(tokenizer.apply_chat_template(render(prompt.messages, reply), tokenize=False))
                worth.append(utility(prompt, reply))
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        hidden = states_by_layer(model.model, Line.of([(text, ()) for text in encoded]))[-1]
        last = torch.tensor([*accumulate(map(len, encoded))]) - 1
        scores, known = cast(torch.Tensor, model.score(hidden[last]))[:, 0], torch.tensor(worth)
        # Neighbors are compared. Every second pair is about one prompt; the others put all prompts on one scale.
        preferred = torch.sigmoid(known - known.roll(-1))
        centered = 1e-3 * (scores**2).mean()
        return torch.nn.functional.binary_cross_entropy_with_logits(scores - scores.roll(-1), preferred) + centered

    optimize(list(model.parameters()), loss, steps=steps, learning_rate=1e-3, name=name, log=log)
    return model.eval()
