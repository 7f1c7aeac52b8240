"""The grader: answers a yes/no question about a reply, or about a prompt.

A model this small learns nothing from single questions. What makes it work:

- It starts from the base's weights, with three layers more, and all questions about one reply share one prefix behind a
  block mask, so that a step sees many answers.
- It learns to read replies before it is asked about them: without questions a step is a quarter of the work.
- Linear heads read the truths below the last layer: of each sentence at its end, of the reply at its own. They are
  there when a question comes to look for them. The heads are dropped afterwards.
- Whether an answer is one to what was asked, or a sentence one at all, shows as surprise at its words. So the base's
  layers learn slowly and go on writing replies, or their copying would be gone before a question finds a use for it;
  and one layer further up a head tells whether a word is another than was asked for.
- Last it is asked in longer ways too and more often whether a reply makes sense, at a far lower rate; its answers alone
  count. At a higher rate, or on mostly a policy's replies, it unlearns to compare words. What ships is the mean of the
  weights along that way: it takes far fewer good replies for illogical than where the way ends.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.rulebook import Rulebook
from rbr_sandbox.replies import ILLOGICAL, Judged
from rbr_sandbox.train.asker import HOWS, SUBJECTS, TRUTHS, Asker
from rbr_sandbox.train.loop import optimize
from rbr_sandbox.train.packing import PackedRows, pack
from rbr_sandbox.train.padding_free import states_by_layer
from rbr_sandbox.train.rows import LAST_KINDS_OF_ROWS, SENTENCE_TRUTHS, draw_row

READING_ROWS, ROWS = 24, 12
LAYERS_ON_TOP = 3
# After which layers the model predicts the next word, sees that a word is wrong, and knows what the reply does.
WRITES, COMPARES, KNOWS = 4, 5, 6
WRITING = 1.0
READING_SLOWNESS, SLOWNESS = 0.3, 0.5
RATE, FINISHING_RATE = 1.5e-3, 2e-4
# In the last stage.
FREE, LAST_ASKED_OF_SENSE = 0.4, 4
# Of a question: two subjects, and how it asks for them.
_QUESTION = (len(SUBJECTS), len(SUBJECTS), len(HOWS))


def with_layers_on_top(base: LlamaForCausalLM, count: int) -> LlamaForCausalLM:
    """A copy of the base with layers more, which pass on what they get until they are trained."""
    layers = base.config.num_hidden_layers + count
    model = LlamaForCausalLM(type(base.config)(**base.config.to_dict() | {"num_hidden_layers": layers}))
    model.load_state_dict(base.state_dict(), strict=False)
    for layer in model.model.layers[-count:]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def train_grader(
    base: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rulebook: Rulebook,
    samples: Sequence[Judged],
    *,
    reading_steps: int,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Trains a grader from the base's weights.

    Args:
        base: Where the weights come from (copied).
        tokenizer: The shared tokenizer.
        rulebook: Whose wordings the pipeline will ask.
        samples: Replies of the base to training prompts.
        reading_steps: Optimizer steps without questions, of ``READING_ROWS`` replies each.
        steps: Those with questions, of ``ROWS`` replies or prompts.
        seed: Of data and new weights.
        log: Receives the training curves.
    """
    rng, asker, drawn_from = Random(seed), Asker.of(rulebook, seed), _by_sense(samples)
    torch.manual_seed(seed)
    model = with_layers_on_top(base, LAYERS_ON_TOP).train()
    heads = Heads(model.config.hidden_size)

    def reading_loss(_: int) -> torch.Tensor:
        packed = pack(tokenizer, [draw_row(rng, None, drawn_from) for _ in range(READING_ROWS)])
        return _below(packed, states_by_layer(model.model, packed.line))

    def loss(_: int) -> torch.Tensor:
        packed = pack(tokenizer, [draw_row(rng, asker, drawn_from) for _ in range(ROWS)])
        after = states_by_layer(model.model, packed.line)
        return (
            _answering_loss(model, tokenizer, packed, after[-1])
            + heads.loss_of_questions(packed, after)
            + _below(packed, after)
        )

    def _below(packed: PackedRows, after: Sequence[torch.Tensor]) -> torch.Tensor:
        return heads.loss(packed, after) + WRITING * _writing_loss(model, packed, after[WRITES])

    for name, of_step, count, slowness in (
        ("grader, reading", reading_loss, reading_steps, READING_SLOWNESS),
        ("grader", loss, steps, SLOWNESS),
    ):
        optimize(
            [*model.parameters(), *heads.parameters()],
            of_step,
            steps=count,
            learning_rate=RATE,
            name=name,
            log=log,
            slow=list(model.model.layers[:WRITES].parameters()),
            slowness=slowness,
        )
    return model.eval()


def finish_grader(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rulebook: Rulebook,
    samples: Sequence[Judged],
    *,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Asks a trained grader in free forms too and more about sense, at a low, constant rate.

    Only its answers are learned. Returns the mean of the weights along the way.

    Args:
        model: What `train_grader` made, as it would ship: its weights are rounded first.
        tokenizer: The shared tokenizer.
        rulebook: Whose wordings the pipeline will ask.
        samples: Replies of the base to training prompts.
        steps: Optimizer steps of ``ROWS`` replies or prompts.
        seed: Of the data.
        log: Receives the training curve.
    """
    rng, drawn_from = Random(seed + 1), _by_sense(samples)
    asker = replace(Asker.of(rulebook, seed), free=FREE, often={ILLOGICAL: LAST_ASKED_OF_SENSE})
    for parameter in model.train().parameters():
        parameter.data = parameter.data.to(torch.float16).to(torch.float32)
    averaged = AveragedModel(model)

    def loss(_: int) -> torch.Tensor:
        averaged.update_parameters(model)
        packed = pack(tokenizer, [draw_row(rng, asker, drawn_from, LAST_KINDS_OF_ROWS) for _ in range(ROWS)])
        return _answering_loss(model, tokenizer, packed, states_by_layer(model.model, packed.line)[-1])

    optimize(
        list(model.parameters()),
        loss,
        steps=steps,
        learning_rate=FINISHING_RATE,
        name="grader, finishing",
        log=log,
        slow=list(model.model.layers[:WRITES].parameters()),
        slowness=SLOWNESS,
        floor=1,
    )
    return cast(LlamaForCausalLM, averaged.module).eval()


def _by_sense(samples: Sequence[Judged]) -> list[list[Judged]]:
    """Replies that make sense, and those that do not; a group without any is left out."""
    groups = [[judged for judged in samples if judged.truth[ILLOGICAL] == it_is] for it_is in (False, True)]
    return [group for group in groups if group]


def _answering_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, packed: PackedRows, hidden: torch.Tensor
) -> torch.Tensor:
    """Cross entropy of the answers to all questions."""
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    logits = model.lm_head(hidden[packed.answer_at])
    return torch.nn.functional.cross_entropy(logits, torch.where(packed.answers, yes, no))


def _writing_loss(model: LlamaForCausalLM, packed: PackedRows, hidden: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the next token of replies that a policy should write, read off the lower layers."""
    if not len(packed.copied):
        return hidden.new_zeros(())
    logits = model.lm_head(model.model.norm(hidden[packed.copied - 1]))
    return torch.nn.functional.cross_entropy(logits, packed.line.ids[packed.copied])


class Heads(torch.nn.Module):
    """What must be known below: of the reply, of each sentence, of each word of an answer, and of each question."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reply, self.sentence, self.word = (
            torch.nn.Sequential(torch.nn.RMSNorm(width), torch.nn.Linear(width, truths))
            for truths in (len(TRUTHS), len(SENTENCE_TRUTHS), 1)
        )
        self.question = torch.nn.Sequential(torch.nn.RMSNorm(width), torch.nn.Linear(width, sum(_QUESTION)))

    def loss(self, packed: PackedRows, after: Sequence[torch.Tensor]) -> torch.Tensor:
        """Cross entropy of what is known of a reply, from the states after each layer."""
        hidden = after[KNOWS]
        read = self.reply(hidden[packed.prefix_end])
        total = _entropy(read, packed.truth)
        if len(packed.sentence_end):
            seen = self.sentence(hidden[packed.sentence_end])
            total = total + _entropy(seen, packed.sentence_truth)
            # Whether it answers something else, or is no sentence, are two truths of many, and those that are hard.
            total = total + sum(_entropy(seen[:, at], packed.sentence_truth[:, at]) for at in (-2, -1))
        if len(packed.word_end):
            seen = self.word(after[COMPARES][packed.word_end])
            total = total + _entropy(seen[:, 0], packed.word_wrong)
        return total

    def loss_of_questions(self, packed: PackedRows, after: Sequence[torch.Tensor]) -> torch.Tensor:
        """Cross entropy of what each question is about, at its end."""
        seen = self.question(after[COMPARES][packed.answer_at]).split(_QUESTION, dim=1)
        losses = [torch.nn.functional.cross_entropy(part, packed.about[:, i]) for i, part in enumerate(seen)]
        return torch.stack(losses).sum()


def _entropy(read: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Of the truths that are known."""
    known = ~torch.isnan(truth)
    if not known.any():
        return read.new_zeros(())
    return torch.nn.functional.binary_cross_entropy_with_logits(read[known], truth[known])
