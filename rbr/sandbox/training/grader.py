"""The grader: answers a yes/no question about a reply, or about a prompt.

A model this small learns nothing from single questions. Three things make it work: it starts from the policy's
weights; all questions about one reply share one prefix behind a block mask, so that a step sees many answers; and
during training a linear head per proposition reads the reply's last token, so that the truth is formed there
before any question attends to it. The heads are dropped afterwards.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.conversation import Conversation, Message
from rbr.grading.prompt import Question, render_prefix, render_question
from rbr.rulebook import Rulebook
from rbr.sandbox.oracle import PROPOSITIONS, truths
from rbr.sandbox.questions import TRAINED
from rbr.sandbox.training.loop import optimise
from rbr.sandbox.world import WorldPrompt, Writer, any_acts

ROWS = 12
QUESTIONS_PER_ROW = 14


@dataclass(frozen=True)
class Row:
    """A conversation with the questions asked about it, their answers, and the truths its auxiliary heads learn."""

    messages: Conversation
    questions: list[str]
    answers: list[bool]
    truth: list[float]  # one per proposition, NaN where unknown


def draw_reply(rng: Random, prompt: WorldPrompt, others: list[WorldPrompt], held_out: float = 0.0) -> tuple[str, bool]:
    """A reply to judge, composed for the prompt or another, or made illogical; and whether it was the last."""
    writer = Writer(rng, held_out)
    draw = rng.random()
    subject = rng.choice(others) if draw < 0.06 else prompt
    text = writer.write(any_acts(rng, subject), subject)
    if draw > 0.90:
        return ("" if draw > 0.995 else writer.corrupt(text)), True
    return text, False


def draw_row(rng: Random, prompt: WorldPrompt, others: list[WorldPrompt], rulebook: Rulebook) -> Row:
    """A row about a reply (mostly) or about the prompt's category."""
    if rng.random() < 0.12:
        categories = rulebook.content_policy.categories
        asked = [rng.choice(list(categories)) for _ in range(4)] + [prompt.topic.category]
        texts = [categories[code].question for code in asked]
        return Row(
            list(prompt.messages),
            texts,
            [code == prompt.topic.category for code in asked],
            [float("nan")] * len(PROPOSITIONS),
        )
    reply, corrupted = draw_reply(rng, prompt, others)
    truth = truths(prompt.messages, reply)
    illogical = "illogical_continuation_of_prompt"
    names = [illogical] if corrupted and truth[illogical] else rng.sample(PROPOSITIONS, QUESTIONS_PER_ROW)
    wordings = {name: (rulebook.propositions[name].question, *TRAINED[name]) for name in names}
    # The shipped wording is what the pipeline asks most, so it is half of what is learned.
    texts = [wordings[name][0] if rng.random() < 0.5 else rng.choice(wordings[name]) for name in names]
    known = {name: float(truth[name]) for name in (names if corrupted else PROPOSITIONS)}
    messages = [*prompt.messages, Message(role="assistant", content=reply)]
    return Row(
        messages,
        texts,
        [truth[name] for name in names],
        [known.get(name, float("nan")) for name in PROPOSITIONS],
    )


@dataclass(frozen=True)
class PackedRows:
    """Rows as one batch: tokens, positions that restart at each question, and the mask that keeps questions apart."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    answer_at: torch.Tensor
    answers: torch.Tensor
    prefix_end: torch.Tensor
    truth: torch.Tensor


def pack(tokenizer: PreTrainedTokenizerFast, rows: list[Row]) -> PackedRows:
    """Tokenises rows into one batch; a question's tokens see the prefix and themselves, nothing else."""
    marker = "\x00"
    frame = tokenizer.apply_chat_template(
        [{"role": "user", "content": marker}], tokenize=False, add_generation_prompt=True
    )
    before, after = frame.split(marker)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    prefixes = [encode(before + render_prefix(row.messages)) for row in rows]
    suffixes = [[encode(render_question(Question("", text), 0) + after) for text in row.questions] for row in rows]
    width = max(len(p) + sum(map(len, s)) for p, s in zip(prefixes, suffixes, strict=True))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    allowed = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    answer_at: list[tuple[int, int]] = []
    for i, (prefix, questions) in enumerate(zip(prefixes, suffixes, strict=True)):
        p = len(prefix)
        ids[i, :p] = torch.tensor(prefix)
        positions[i, :p] = torch.arange(p)
        allowed[i, :p, :p] = torch.ones(p, p, dtype=torch.bool).tril()
        at = p
        for question in questions:
            q = len(question)
            ids[i, at : at + q] = torch.tensor(question)
            positions[i, at : at + q] = torch.arange(p, p + q)
            allowed[i, at : at + q, :p] = True
            allowed[i, at : at + q, at : at + q] = torch.ones(q, q, dtype=torch.bool).tril()
            at += q
            answer_at.append((i, at - 1))
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]
    return PackedRows(
        ids,
        positions,
        mask,
        torch.tensor(answer_at),
        torch.tensor([answer for row in rows for answer in row.answers]),
        torch.tensor([len(p) - 1 for p in prefixes]),
        torch.tensor([row.truth for row in rows]),
    )


def train_grader(
    policy: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[WorldPrompt],
    rulebook: Rulebook,
    *,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Trains the grader, in place, from the policy's weights."""
    rng = Random(seed)
    torch.manual_seed(seed)
    model = policy.train()
    heads = torch.nn.Linear(model.config.hidden_size, len(PROPOSITIONS))
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))

    def loss(_: int) -> torch.Tensor:
        rows = [draw_row(rng, rng.choice(prompts), prompts, rulebook) for _ in range(ROWS)]
        packed = pack(tokenizer, rows)
        hidden = model.model(
            input_ids=packed.ids, attention_mask=packed.mask, position_ids=packed.positions
        ).last_hidden_state
        logits = model.lm_head(hidden[packed.answer_at[:, 0], packed.answer_at[:, 1]])
        answered = torch.nn.functional.cross_entropy(logits, torch.where(packed.answers, yes, no))
        read = heads(hidden[torch.arange(len(rows)), packed.prefix_end])
        known = ~torch.isnan(packed.truth)
        if not known.any():
            return answered
        return answered + torch.nn.functional.binary_cross_entropy_with_logits(read[known], packed.truth[known])

    optimise(
        [*model.parameters(), *heads.parameters()],
        loss,
        steps=steps,
        learning_rate=1.5e-3,
        name="grader",
        log=log,
    )
    return model.eval()
