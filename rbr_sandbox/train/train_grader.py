"""Trains the grader, which answers yes/no questions about a reply or about a prompt.

A model this small learns nothing from single questions. These measures make the training work:

- The grader starts from the base's weights, with three more layers. All questions about a reply share one prefix, and a
  block mask separates the questions. So a step trains many answers.
- The grader learns to read replies before it learns to answer questions, because a step without questions costs a
  quarter of a step with questions.
- Auxiliary heads teach the layers below the last one the truths about each sentence, at the end of the sentence, and
  about the reply, at the end of the reply. A question then finds these truths in the states. The heads do not ship.
- A wrong action or a broken sentence contains words that a policy would not have written. So the base's layers learn
  slowly and keep learning to write replies. Otherwise they would forget how to write before a question needs this
  knowledge. One layer above, a head predicts whether a word differs from the requested action.
- The finishing stage also asks in longer forms, and more often whether a reply is logical, at a far lower learning
  rate. Only the answers are trained. At a higher rate, or with mostly a policy's replies, the grader forgets how to
  compare words. The mean of the weights over this stage ships, because it calls far fewer good replies illogical than
  the last weights do.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.rulebook import Rulebook
from rbr_sandbox.replies import ILLOGICAL, JudgedReply
from rbr_sandbox.train.auxiliary_heads import AuxiliaryHeads
from rbr_sandbox.train.grader_rows import FINISHING_ROW_WEIGHTS, draw_row
from rbr_sandbox.train.optimize import optimize
from rbr_sandbox.train.padding_free import states_by_layer
from rbr_sandbox.train.question_sampler import QuestionSampler
from rbr_sandbox.train.row_packing import PackedRows, pack_rows

READING_ROWS, ROWS = 24, 12
"""Rows per step, without and with questions."""
EXTRA_LAYERS = 3
WRITING_LAYER = 4
"""Layer after which the next word of a reply is predicted; the layers up to here come from the base."""
WRITING_WEIGHT = 1.0
READING_SLOW_FACTOR, SLOW_FACTOR = 0.3, 0.5
"""Factors on the learning rate of the base's layers, without and with questions."""
LEARNING_RATE, FINISHING_LEARNING_RATE = 1.5e-3, 2e-4
FINISHING_EXTRA_SHARE, FINISHING_ILLOGICAL_QUESTIONS = 0.4, 4


def add_layers(base: LlamaForCausalLM, count: int) -> LlamaForCausalLM:
    """Copies the base and adds layers on top. Until they are trained, the new layers return their input."""
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
    samples: Sequence[JudgedReply],
    *,
    reading_steps: int,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Trains a grader from the base's weights, first without questions and then with questions.

    Args:
        base: Model whose weights are copied.
        tokenizer: The shared tokenizer.
        rulebook: Rulebook with the wordings that the pipeline will ask.
        samples: Replies of the base to training prompts.
        reading_steps: Number of optimizer steps without questions, with `READING_ROWS` rows each.
        steps: Number of optimizer steps with questions, with `ROWS` rows each.
        seed: Seed of the data and of the new weights.
        log: Receives the training curves.
    """
    rng, sampler, groups = Random(seed), QuestionSampler.from_rulebook(rulebook, seed), _group_by_logic(samples)
    torch.manual_seed(seed)
    model = add_layers(base, EXTRA_LAYERS).train()
    heads = AuxiliaryHeads(model.config.hidden_size)

    def lower_layers_loss(packed: PackedRows, states: Sequence[torch.Tensor]) -> torch.Tensor:
        return heads.reading_loss(packed, states) + WRITING_WEIGHT * _writing_loss(model, packed, states[WRITING_LAYER])

    def loss_without_questions(_: int) -> torch.Tensor:
        packed = pack_rows(tokenizer, [draw_row(rng, None, groups) for _ in range(READING_ROWS)])
        return lower_layers_loss(packed, states_by_layer(model.model, packed.sequence))

    def loss_with_questions(_: int) -> torch.Tensor:
        packed = pack_rows(tokenizer, [draw_row(rng, sampler, groups) for _ in range(ROWS)])
        states = states_by_layer(model.model, packed.sequence)
        return (
            _answering_loss(model, tokenizer, packed, states[-1])
            + heads.question_loss(packed, states)
            + lower_layers_loss(packed, states)
        )

    for name, loss_of_step, count, slow_factor in (
        ("grader, reading", loss_without_questions, reading_steps, READING_SLOW_FACTOR),
        ("grader", loss_with_questions, steps, SLOW_FACTOR),
    ):
        optimize(
            [*model.parameters(), *heads.parameters()],
            loss_of_step,
            steps=count,
            learning_rate=LEARNING_RATE,
            name=name,
            log=log,
            slow=list(model.model.layers[:WRITING_LAYER].parameters()),
            slow_factor=slow_factor,
        )
    return model.eval()


def finish_grader(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rulebook: Rulebook,
    samples: Sequence[JudgedReply],
    *,
    steps: int,
    seed: int,
    log: list[dict[str, Any]],
) -> LlamaForCausalLM:
    """Trains a grader on answers alone, at a low constant rate, with extra wordings and more questions about logic.

    Args:
        model: Grader from `train_grader`; its weights are first rounded to float16, like the shipped weights.
        tokenizer: The shared tokenizer.
        rulebook: Rulebook with the wordings that the pipeline will ask.
        samples: Replies of the base to training prompts.
        steps: Number of optimizer steps, with `ROWS` rows each.
        seed: Seed of the data.
        log: Receives the training curve.

    Returns:
        Grader whose weights are the mean over all steps.
    """
    rng, groups = Random(seed + 1), _group_by_logic(samples)
    sampler = replace(
        QuestionSampler.from_rulebook(rulebook, seed),
        extra_share=FINISHING_EXTRA_SHARE,
        reserved_questions={ILLOGICAL: FINISHING_ILLOGICAL_QUESTIONS},
    )
    for parameter in model.train().parameters():
        parameter.data = parameter.data.to(torch.float16).to(torch.float32)
    averaged = AveragedModel(model)

    def loss(_: int) -> torch.Tensor:
        averaged.update_parameters(model)
        packed = pack_rows(tokenizer, [draw_row(rng, sampler, groups, FINISHING_ROW_WEIGHTS) for _ in range(ROWS)])
        return _answering_loss(model, tokenizer, packed, states_by_layer(model.model, packed.sequence)[-1])

    optimize(
        list(model.parameters()),
        loss,
        steps=steps,
        learning_rate=FINISHING_LEARNING_RATE,
        name="grader, finishing",
        log=log,
        slow=list(model.model.layers[:WRITING_LAYER].parameters()),
        slow_factor=SLOW_FACTOR,
        final_share=1,
    )
    return cast(LlamaForCausalLM, averaged.module).eval()


def _group_by_logic(samples: Sequence[JudgedReply]) -> list[list[JudgedReply]]:
    """Groups replies into logical and illogical replies, without empty groups."""
    groups = [[judged for judged in samples if judged.truth[ILLOGICAL] == illogical] for illogical in (False, True)]
    return [group for group in groups if group]


def _answering_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, packed: PackedRows, hidden: torch.Tensor
) -> torch.Tensor:
    """Returns the cross entropy of the answers to all questions, from the last hidden states (tokens, width)."""
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    logits = model.lm_head(hidden[packed.answer_positions])  # (questions, vocabulary)
    return torch.nn.functional.cross_entropy(logits, torch.where(packed.answers, yes, no))


def _writing_loss(model: LlamaForCausalLM, packed: PackedRows, hidden: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy of the replies that a policy should write, from hidden states (tokens, width)."""
    if not len(packed.written_positions):
        return hidden.new_zeros(())
    # The state before a token predicts the token.
    logits = model.lm_head(model.model.norm(hidden[packed.written_positions - 1]))
    return torch.nn.functional.cross_entropy(logits, packed.sequence.ids[packed.written_positions])
