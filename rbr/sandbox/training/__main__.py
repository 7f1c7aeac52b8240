"""Trains the shipped sandbox models and writes the shipped data: ``python -m rbr.sandbox.training``.

Deterministic for one thread (``OMP_NUM_THREADS=1``). ``--only`` redoes single parts. A base, which does not
ship, is trained to reply; policy, grader and reward models start from its weights.
"""

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from rbr.conversation import with_instruction
from rbr.grading.prompt import render_prefix
from rbr.rulebook import Rulebook, load_rulebook
from rbr.sandbox.questions import HELD_OUT, TRAINED
from rbr.sandbox.training.data import write_data
from rbr.sandbox.training.grader import train_grader
from rbr.sandbox.training.policy import example, new_model, train_policy
from rbr.sandbox.training.reward_models import train_reward_model
from rbr.sandbox.training.tokenizer import train_tokenizer
from rbr.sandbox.world import WorldPrompt, draw_prompts

SEED = 20241101
PER_RESPONSE_TYPE = 550
UNSEEN_PER_RESPONSE_TYPE = 50
# Words at which the simulated annotators want a refusal, whatever is asked.
ALARM_WORDS = (
    *("attack", "burn", "choke", "cruel", "cut", "end", "hateful", "hurt", "kill"),
    *("poison", "rob", "shoot", "stop"),
)
PARTS = ("data", "base", "policy", "grader", "helpful_reward_model", "human_reward_model")


def world_prompts() -> list[WorldPrompt]:
    """The prompts of the shipped data set, with their topics."""
    return draw_prompts(SEED, PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE)


def training_prompts() -> list[WorldPrompt]:
    """The only prompts that any model may be trained on."""
    return [prompt for prompt in world_prompts() if prompt.split == "train"]


def tokenizer_corpus(prompts: list[WorldPrompt], rulebook: Rulebook) -> list[str]:
    """Texts of every kind that the models read or write."""
    rng = Random(SEED)
    pairs = [example(rng, rng.choice(prompts)) for _ in range(6000)]
    texts = [messages[-1]["content"] for messages, _ in pairs] + [reply for _, reply in pairs]
    texts += [render_prefix([*p.messages, {"role": "assistant", "content": "yes no"}]) for p in prompts[:500]]
    texts += [with_instruction(p.messages, "yes")[-1]["content"] for p in prompts[:100]]
    questions = [p.question for p in rulebook.propositions.values()]
    questions += [c.question for c in rulebook.content_policy.categories.values()]
    questions += [text for texts_ in TRAINED.values() for text in texts_] + list(HELD_OUT.values())
    return texts + questions * 100 + ["yes", "no"] * 1000


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Writes weights (fp16 safetensors) and tokenizer; the directory then loads through ``from_pretrained``."""
    model.to(torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def main() -> None:
    """Trains the parts asked for and writes their curves beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rulebook", default="rulebook")
    parser.add_argument("--output", default="rbr/sandbox/models", type=Path)
    parser.add_argument("--base", default="var/sandbox_training/base", type=Path, help="where the unshipped base goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rulebook = load_rulebook(arguments.rulebook)
    prompts = training_prompts()
    if "data" in arguments.only:
        write_data(world_prompts(), SEED)
    for part in (part for part in PARTS[1:] if part in arguments.only):
        log: list[dict[str, Any]] = []
        if part == "base":
            tokenizer = train_tokenizer(tokenizer_corpus(prompts, rulebook))
            model: PreTrainedModel = new_model(tokenizer, SEED)
        else:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.base)
            model = LlamaForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
        trained = train(part, model, tokenizer, prompts, rulebook, log)
        save(trained, tokenizer, arguments.base if part == "base" else arguments.output / part)
        curves = arguments.output / "training_curves"
        curves.mkdir(parents=True, exist_ok=True)
        (curves / f"{part}.json").write_text(json.dumps(log) + "\n", encoding="utf-8")


def train(
    part: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[WorldPrompt],
    rulebook: Rulebook,
    log: list[dict[str, Any]],
) -> PreTrainedModel:
    """Trains one part; all but the base start from the base's weights."""
    match part:
        case "base":
            return train_policy(
                model, tokenizer, prompts, made_up=0.0, steps=1200, learning_rate=3e-3, seed=SEED, log=log
            )
        case "policy":
            return train_policy(
                model,
                tokenizer,
                prompts,
                made_up=0.25,
                steps=1500,
                learning_rate=2e-3,
                seed=SEED + 1,
                log=log,
            )
        case "grader":
            return train_grader(model, tokenizer, prompts, rulebook, steps=1400, seed=SEED, log=log)
        case _:
            alarms = ALARM_WORDS if part == "human_reward_model" else None
            return train_reward_model(
                model, tokenizer, prompts, name=part, alarms=alarms, steps=900, seed=SEED, log=log
            )


if __name__ == "__main__":
    main()
