"""The helpful-only policy: answers plain prompts, and writes what an instruction asks for."""

from random import Random
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.conversation import Conversation, with_instruction
from rbr_sandbox.acts import helpful_acts, instructed_acts
from rbr_sandbox.train.loop import optimize
from rbr_sandbox.train.padding_free import Line, states_by_layer
from rbr_sandbox.world import WorldPrompt, Writer, made_up_prompt, training_prompt

INSTRUCTED = 0.5
ROWS = 32


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A freshly initialized Llama of about a million parameters."""
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


def example(rng: Random, prompt: WorldPrompt) -> tuple[Conversation, str]:
    """One training pair: a conversation, with or without an instruction, and the reply to it."""
    writer = Writer(rng)
    if rng.random() < INSTRUCTED:
        acts = instructed_acts(rng, prompt)
        return with_instruction(prompt.messages, writer.instruction(acts)), writer.write(acts, prompt)
    return list(prompt.messages), writer.write(helpful_acts(rng, prompt), prompt)


def _packed(tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[Conversation, str]]) -> tuple[Line, torch.Tensor]:
    """The pairs in one line, and its tokens that are to be predicted."""
    texts: list[list[int]] = []
    written: list[int] = []
    at = 0
    for messages, reply in pairs:
        head = tokenizer.encode(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
            add_special_tokens=False,
        )
        texts.append([*head, *tokenizer.encode(reply, add_special_tokens=False), tokenizer.eos_token_id])
        written += range(at + len(head), at + len(texts[-1]))
        at += len(texts[-1])
    return Line.of([(text, ()) for text in texts]), torch.tensor(written)


def train_policy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    made_up: float,
    steps: int,
    learning_rate: float,
    seed: int,
    name: str,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Supervised training, in place, on prompts and replies composed afresh for each step.

    Args:
        model: What to train.
        tokenizer: The shared tokenizer.
        made_up: Share of prompts that ask for made-up harmless acts instead ("bake a scarf"). They teach the
            policy to name what it was asked for rather than what it has learned by heart.
        steps: Optimizer steps of ``ROWS`` replies.
        learning_rate: Its peak.
        seed: Of the data.
        name: For the log.
        log: Receives the training curve.
    """
    rng = Random(seed)
    model.train()

    def subject() -> WorldPrompt:
        return made_up_prompt(rng) if rng.random() < made_up else training_prompt(rng)

    def loss(_: int) -> torch.Tensor:
        pairs = [example(rng, subject()) for _ in range(ROWS)]
        line, written = _packed(tokenizer, pairs)
        hidden = states_by_layer(model.model, line)[-1]
        return torch.nn.functional.cross_entropy(model.lm_head(hidden[written - 1]), line.ids[written])

    optimize(list(model.parameters()), loss, steps=steps, learning_rate=learning_rate, name=name, log=log)
    return model.eval()


def sharpened(model: LlamaForCausalLM, sharpness: float) -> LlamaForCausalLM:
    """Scales the logits of a model, in place: it then writes at temperature 1 what it wrote at 1 / sharpness.

    A small model leaves a little probability to thousands of wrong tokens, and a reply has thirty chances to take one.
    Choices that are even stay even.
    """
    # The head has no scale of its own: its weights are those of the embedding.
    model.model.norm.weight.data.mul_(sharpness)
    return model
