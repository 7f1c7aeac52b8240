"""Trains the byte-level BPE tokenizer of the four sandbox models."""

from collections.abc import Iterable
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rbr.conversation import Conversation, with_instruction
from rbr.rulebook import Rulebook
from rbr_sandbox.questions import compose, compose_negated
from rbr_sandbox.train.train_policy import draw_example
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import training_prompt

VOCABULARY_SIZE = 2048
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_GRADER_INSTRUCTION = "Read the conversation, then answer the question about the last reply with yes or no."
SPECIAL_TOKENS = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Trains a tokenizer with a chat template on ``texts``. The grader needs "yes" and "no" as single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        model_max_length=512,
        padding_side="left",
    )
    fast_tokenizer.chat_template = CHAT_TEMPLATE
    return fast_tokenizer


def tokenizer_corpus(rulebook: Rulebook, seed: int) -> list[str]:
    """Returns texts of all kinds that the models read or write."""
    rng = Random(seed)
    # Conversations and replies of the policy.
    examples = [draw_example(rng, training_prompt(rng)) for _ in range(6000)]
    texts = [messages[-1]["content"] for messages, _ in examples] + [reply for _, reply in examples]
    # Conversations in the words of the grader's prompt, and an instruction.
    texts += [_as_read_by_grader(m) for m, _ in examples[:500]]
    texts += [with_instruction(m, "yes")[-1]["content"] for m, _ in examples[:100]]
    # Questions, and their answers.
    fixed_questions = [p.question for p in rulebook.propositions.values()]
    fixed_questions += [c.question for c in rulebook.content_policy.categories.values()]
    fixed_questions += [question for questions in CATEGORY_QUESTIONS.values() for question in questions]
    composed_questions = [compose(rng, name) for name in PHRASES for _ in range(150)]
    composed_questions += [compose_negated(rng, name) for name in PHRASES for _ in range(30)]
    return texts + fixed_questions * 60 + composed_questions + ["yes", "no"] * 1000


def _as_read_by_grader(prompt: Conversation) -> str:
    turns = "\n".join(f"{turn['role'].upper()}: {turn['content']}" for turn in prompt)
    return f"{_GRADER_INSTRUCTION}\n\n{turns}\nASSISTANT: yes no\n\n"
