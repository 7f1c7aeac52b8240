"""The models that read prompts, as the profile names them. Reads tokenizers and configurations, and no weights."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from rbr.conversation import Conversation, with_instruction
from rbr.grading.prompt import Question, compile_prompt
from rbr.models.checked_prompts import PromptReader, open_reader, with_trial_reply
from rbr.profile import GraderSettings, ReplyLengths
from rbr.rulebook.longest_texts import LongestTexts
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot


def prompt_readers(store: Store) -> list[PromptReader]:
    """Returns the models that read the prompts of the data file: policy, reward models and grader.

    A grader behind a chat endpoint is left out: its server has the tokenizer, and any chat template takes the one user
    turn that the grader reads.

    Raises:
        InputError: The files of a model cannot be read, or a tokenizer has no chat template.
    """
    return [*_policy(store), *_reward_models(store), *_grader(store)]


def _policy(store: Store) -> Iterator[PromptReader]:
    ref = read_model(store, "policy").ref
    lengths, texts = read_snapshot(store, ReplyLengths), read_snapshot(store, LongestTexts)
    tokenizer, context = open_reader(ref)
    # 1. Reinforcement learning and evaluation sample replies to the prompt itself.
    room = max(lengths.rl, lengths.evaluation)
    yield PromptReader("policy", tokenizer, context, room, chat_template_kwargs=ref.chat_template_kwargs)
    # 2. Synthesis samples replies to the prompt with a writing instruction.
    instruction = max(texts.instructions, key=lambda text: _n_tokens(tokenizer, text), default="")
    yield PromptReader(
        "policy with the longest writing instruction" if instruction else "policy",
        tokenizer,
        context,
        lengths.synthesis,
        partial(with_instruction, instruction=instruction),
        chat_template_kwargs=ref.chat_template_kwargs,
    )


def _reward_models(store: Store) -> Iterator[PromptReader]:
    room = read_snapshot(store, ReplyLengths).longest
    for role in ("helpful_reward_model", "human_reward_model"):
        ref = read_model(store, role).ref
        yield PromptReader(
            role.replace("_", " "),
            *open_reader(ref),
            room,
            with_trial_reply,
            add_generation_prompt=False,
            chat_template_kwargs=ref.chat_template_kwargs,
        )


def _grader(store: Store) -> Iterator[PromptReader]:
    settings = read_snapshot(store, GraderSettings)
    if settings.backend == "openai" and settings.endpoint == "chat":
        return
    ref = read_model(store, "grader").ref
    tokenizer, context = open_reader(ref)
    if settings.backend == "vllm" and settings.vllm.max_model_len:
        context = min(context, settings.vllm.max_model_len)
    prompt, few_shot = compile_prompt(settings.prompt_template), settings.few_shot
    questions = [
        Question(entry.name, entry.question, entry.examples)
        for entry in read_snapshot(store, LongestTexts).propositions
    ]
    longest = max(questions, key=lambda question: _n_tokens(tokenizer, prompt.question(question, few_shot)))

    def turns(messages: Conversation) -> Conversation:
        text = prompt.render(with_trial_reply(messages), longest, few_shot)
        return [{"role": "user", "content": text}]

    yield PromptReader(
        "grader",
        tokenizer,
        context,
        read_snapshot(store, ReplyLengths).longest,
        turns,
        chat_template_kwargs=ref.chat_template_kwargs,
    )


def _n_tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))
