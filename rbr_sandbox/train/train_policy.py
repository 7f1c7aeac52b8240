"""Trains the helpful-only policy, which answers prompts and follows writing instructions."""

from random import Random
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.conversation import Conversation, with_instruction
from rbr_sandbox.reply_plans import plan_helpful_reply, plan_instructed_reply
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.train.optimize import optimize
from rbr_sandbox.train.padding_free import PackedSequence, states_by_layer
from rbr_sandbox.world import made_up_prompt, training_prompt
from rbr_sandbox.world_prompt import WorldPrompt

INSTRUCTED_SHARE = 0.5
REPLIES_PER_STEP = 32


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Creates a freshly initialized Llama with about a million parameters."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def draw_example(rng: Random, prompt: WorldPrompt) -> tuple[Conversation, str]:
    """Draws a training example: a conversation, with or without an instruction, and its reply."""
    writer = ReplyWriter(rng)
    if rng.random() < INSTRUCTED_SHARE:
        acts = plan_instructed_reply(rng, prompt)
        return with_instruction(prompt.messages, writer.instruction(acts)), writer.write(acts, prompt)
    return list(prompt.messages), writer.write(plan_helpful_reply(rng, prompt), prompt)


def train_policy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    made_up_share: float,
    steps: int,
    learning_rate: float,
    seed: int,
    name: str,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Trains a model in place to write composed replies. Each step draws new prompts and replies.

    Args:
        model: Model to train.
        tokenizer: The shared tokenizer.
        made_up_share: Share of prompts that ask for a made-up harmless action ("bake a scarf"). They teach the policy
            to name the requested action instead of an action that it knows by heart.
        steps: Number of optimizer steps, with `REPLIES_PER_STEP` replies each.
        learning_rate: Peak learning rate.
        seed: Seed of the data.
        name: Name of the model in the log.
        log: Receives the training curve.

    Returns:
        The same model, in evaluation mode.
    """
    rng = Random(seed)
    model.train()

    def draw_prompt() -> WorldPrompt:
        return made_up_prompt(rng) if rng.random() < made_up_share else training_prompt(rng)

    def loss(_: int) -> torch.Tensor:
        examples = [draw_example(rng, draw_prompt()) for _ in range(REPLIES_PER_STEP)]
        sequence, reply_positions = _pack_examples(tokenizer, examples)
        hidden = states_by_layer(model.model, sequence)[-1]  # (tokens, width)
        # The state before a token predicts the token.
        return torch.nn.functional.cross_entropy(
            model.lm_head(hidden[reply_positions - 1]), sequence.ids[reply_positions]
        )

    optimize(list(model.parameters()), loss, steps=steps, learning_rate=learning_rate, name=name, log=log)
    return model.eval()


def _pack_examples(
    tokenizer: PreTrainedTokenizerFast, examples: list[tuple[Conversation, str]]
) -> tuple[PackedSequence, torch.Tensor]:
    """Packs the examples into one sequence. Returns the sequence and the positions of the replies' tokens."""
    texts: list[list[int]] = []
    reply_positions: list[int] = []
    start = 0
    for messages, reply in examples:
        prompt_ids = tokenizer.encode(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
            add_special_tokens=False,
        )
        texts.append([*prompt_ids, *tokenizer.encode(reply, add_special_tokens=False), tokenizer.eos_token_id])
        reply_positions += range(start + len(prompt_ids), start + len(texts[-1]))
        start += len(texts[-1])
    return PackedSequence.of([(text, ()) for text in texts]), torch.tensor(reply_positions)


def sharpen(model: LlamaForCausalLM, sharpness: float) -> LlamaForCausalLM:
    """Scales the logits of a model in place, so that temperature 1 acts as ``1 / sharpness`` did before.

    A small model gives a little probability to thousands of wrong tokens, and a reply of thirty tokens has thirty
    chances to contain one. Tokens with equal probabilities keep equal probabilities.
    """
    # Scale the last norm, because the language model head shares its weights with the embedding.
    model.model.norm.weight.data.mul_(sharpness)
    return model
