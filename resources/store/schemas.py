"""The columns of every stored table: type, range and meaning.

The store checks frames against these schemas. Ids are content hashes of 16 hexadecimal characters. Probabilities and
shares are in [0, 1]. A missing measurement is null, never 0 or 0.5.
"""

from functools import partial
from typing import Any

import pandera.polars as pa
import polars as pl

_column: Any = pa.Field
_share: Any = partial(pa.Field, ge=0.0, le=1.0)
_count: Any = partial(pa.Field, ge=0)

_PROMPT = "id of the prompt: hash of its messages"
_COMPLETION = "id of the reply: hash of everything that the reply was sampled from"
_GRADED = "id of the graded conversation: id of a reply, hash of a gold reply, or id of a prompt"
_MESSAGES = "messages of the prompt, a JSON list of {role, content}"
_VARIANT = "rbr, helpful or human"
_CHECKPOINT = "hash of everything that the checkpoint was trained from"
_LOW = "lower end of the 95 % interval"
_HIGH = "upper end of the 95 % interval"


class Snapshots(pa.DataFrameModel):
    """Parsed content of the user's files."""

    name: str = _column(description="name of the snapshot, such as rulebook/behavior")
    content: str = _column(description="parsed content of the file, as JSON")
    data_version: str = _column(description="hash of the content")


class LabeledPrompts(pa.DataFrameModel):
    """Prompts with category and response type."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    category: str = _column(description="category in the content policy")
    category_source: str = _column(
        isin=["given", "grader"], description="source of the category: given (in the data file) or grader"
    )
    p_category: float = _share(nullable=True, description="P(yes) of the category; null if the category was given")
    response_type: str = _column(description="response type of the category")
    held_out: str = _column(
        nullable=True, description="test split that the prompt is reserved for; null if the hash of the prompt decides"
    )


class QuarantinedPrompts(pa.DataFrameModel):
    """Prompts without a category, because no P(yes) of the grader reaches the bar."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    best_category: str = _column(nullable=True, description="category with the highest P(yes)")
    p_category: float = _share(nullable=True, description="P(yes) of that category; null if no answer could be read")


class TrainingPrompts(pa.DataFrameModel):
    """Prompts for training. The response type is not stored; readers look it up by category."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    category: str = _column(description="category in the content policy")


class TestPrompts(TrainingPrompts):
    """Prompts for the evaluation."""

    split: str = _column(description="test (chosen by hash), or the name of a held-out split, such as unseen_topics")


class Completions(pa.DataFrameModel):
    """Cells: sampled replies."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    instruction: str = _column(description="instruction appended to the prompt; empty if there is none")
    policy: str = _column(description="fingerprint of the policy's weights")
    sampling: str = _column(description="hash of the sampling settings")
    candidate: pl.Int32 = _count(description="index among the replies to the same prompt and instruction, from 0")
    text: str = _column(description="the reply")
    n_tokens: pl.Int32 = _count(description="length of the reply in tokens")
    finished: bool = _column(description="false if the reply was cut off at the maximum number of tokens")


class Grades(pa.DataFrameModel):
    """Cells: raw answers of the grader."""

    completion_id: str = _column(description=_GRADED)
    question: str = _column(description="hash of the question with its examples")
    grader: str = _column(description="hash of the grader's weights and settings")
    p_yes: float = _share(nullable=True, description="P(yes) / (P(yes) + P(no)); null if the answer could not be read")


class Scores(pa.DataFrameModel):
    """Cells: reward model scores."""

    completion_id: str = _column(description=_COMPLETION)
    reward_model: str = _column(description="fingerprint of the reward model's weights")
    score: float = _column(nullable=True, description="R_rm of the reply; null if the reply could not be scored")


class SyntheticComparisons(pa.DataFrameModel):
    """Candidate replies, by prompt and slot of the recipe."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    response_type: str = _column(description="response type of the prompt")
    slot: str = _column(description="slot of the recipe")
    label: str = _column(description="label of the slot, as in the ranking")
    candidate: pl.Int32 = _count(description="index among the candidates of the slot, from 0")
    text: str = _column(description="the reply")


class PropositionGrades(pa.DataFrameModel):
    """Grades of the candidates, by proposition."""

    completion_id: str = _column(description=_COMPLETION)
    proposition: str = _column(description="name of the proposition")
    p_yes: float = _share(nullable=True, description="raw P(yes); null if the answer could not be read")


class RewardModelScores(pa.DataFrameModel):
    """Scores of the candidates by the helpful-only reward model."""

    completion_id: str = _column(description=_COMPLETION)
    score: float = _column(nullable=True, description="R_rm of the reply; null if the reply could not be scored")


class GraderAgreement(pa.DataFrameModel):
    """Agreement of the grader with the gold labels, by proposition."""

    proposition: str = _column(description="name of the proposition")
    n: pl.Int32 = _count(description="number of gold labels with a readable grade")
    prevalence: float = _share(nullable=True, description="share of gold labels that are true")
    balanced_accuracy: float = _share(nullable=True, description="mean of sensitivity and specificity")
    balanced_accuracy_low: float = _share(
        nullable=True, description="lower end of the 95 % interval of balanced_accuracy"
    )
    balanced_accuracy_high: float = _share(
        nullable=True, description="upper end of the 95 % interval of balanced_accuracy"
    )
    f1: float = _share(nullable=True, description="harmonic mean of precision and recall")
    threshold: float = _share(nullable=True, description="smallest P(yes) that counts as true")


class AcceptedPropositions(pa.DataFrameModel):
    """The propositions, with the part of the agreement that later stages read."""

    proposition: str = _column(description="name of the proposition")
    threshold: float = _share(description="smallest P(yes) that counts as true")
    accepted: bool = _column(description="true if the agreement reaches the bar")


class VerifiedComparisons(pa.DataFrameModel):
    """For each prompt and slot, the first candidate whose most probable class the slot allows."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    response_type: str = _column(description="response type of the prompt")
    slot: str = _column(description="slot of the recipe")
    label: str = _column(description="label of the slot, as in the ranking")
    class_name: str = _column(description="most probable class of the reply")
    p_class: float = _share(description="probability of that class")


class IdealCompletions(pa.DataFrameModel):
    """Training rows of supervised fine-tuning."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    text: str = _column(description="the ideal reply")
    response_type: str = _column(description="response type of the prompt")


class FittedWeights(pa.DataFrameModel):
    """Weights of the linear reward."""

    response_type: str = _column(description="response type that the weight applies to")
    feature: str = _column(description="class:NAME or proposition:NAME")
    weight: float = _column(description="weight of the feature in R_rbr")
    low: float = _column(nullable=True, description="lower end of the 95 % bootstrap interval of the weight")
    high: float = _column(nullable=True, description="upper end of the 95 % bootstrap interval of the weight")


class FitCertificates(pa.DataFrameModel):
    """The duality gap, which bounds the distance of the weights from the optimum, and held-out error rates."""

    response_type: str = _column(description="response type of the prompts")
    n_prompts: pl.Int32 = _count(description="number of prompts in the fit")
    n_pairs: pl.Int32 = _count(description="number of ordered pairs in the fit")
    n_held_out: pl.Int32 = _count(description="number of prompts held out for the error rates")
    primal: float = _column(description="value of the objective at the weights")
    dual: float = _column(description="lower bound of the optimal value")
    gap: float = _column(
        description="(primal - dual) / primal: upper bound of the relative distance from the optimal value"
    )
    error_rm: float = _share(nullable=True, description="held-out error rate of R_rm alone")
    error_rbr: float = _share(nullable=True, description="held-out error rate of R_rbr alone")
    error_total: float = _share(nullable=True, description="held-out error rate of R_rm + R_rbr")


class Checkpoints(pa.DataFrameModel):
    """Trained checkpoints."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)
    path: str = _column(description="directory of the weights, relative to the state directory")
    fingerprint: str = _column(description="fingerprint of the weights")
    mlflow_run_id: str = _column(nullable=True, description="id of the training run in MLflow")


class CurrentCheckpoints(pa.DataFrameModel):
    """The current checkpoint of each variant."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)


class TrainingMetrics(pa.DataFrameModel):
    """Training curves."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)
    step: pl.Int32 = _count(description="optimizer step")
    metric: str = _column(description="name of the metric")
    value: float = _column(nullable=True, description="value of the metric; null if it is not finite")


class EvaluationCompletions(pa.DataFrameModel):
    """Replies of the current checkpoints to test prompts."""

    variant: str = _column(description=_VARIANT)
    checkpoint: str = _column(description=_CHECKPOINT)
    split: str = _column(description="test split of the prompt")
    prompt_id: str = _column(description=_PROMPT)
    completion_id: str = _column(description=_COMPLETION)
    text: str = _column(description="the reply")


class EvaluationGrades(pa.DataFrameModel):
    """Grades of the evaluated replies, by proposition."""

    variant: str = _column(description=_VARIANT)
    completion_id: str = _column(description=_COMPLETION)
    proposition: str = _column(description="name of the proposition")
    p_yes: float = _share(nullable=True, description="raw P(yes); null if the answer could not be read")


class Evaluations(pa.DataFrameModel):
    """Safety metrics with 95 % intervals. A metric is null if no reply counts for it."""

    variant: str = _column(description=_VARIANT)
    checkpoint: str = _column(description=_CHECKPOINT)
    rulebook: str = _column(description="hash of everything that the metrics depend on, except the replies")
    split: str = _column(description="test split")
    judge: str = _column(description="grader or oracle")
    n_prompts: pl.Int32 = _count(description="number of prompts with a classified reply")
    not_unsafe: float = _share(nullable=True, description="share of replies that are not in an unsafe class")
    not_unsafe_low: float = _share(nullable=True, description=_LOW)
    not_unsafe_high: float = _share(nullable=True, description=_HIGH)
    not_overrefuse: float = _share(
        nullable=True, description="share of replies to comply prompts that are not over-refusals"
    )
    not_overrefuse_low: float = _share(nullable=True, description=_LOW)
    not_overrefuse_high: float = _share(nullable=True, description=_HIGH)
    f1: float = _share(nullable=True, description="harmonic mean of not_unsafe and not_overrefuse")
    f1_low: float = _share(nullable=True, description=_LOW)
    f1_high: float = _share(nullable=True, description=_HIGH)
    hard_refusal_style: float = _share(
        nullable=True, description="share of ideal replies among the replies to hard-refusal prompts"
    )
    hard_refusal_style_low: float = _share(nullable=True, description=_LOW)
    hard_refusal_style_high: float = _share(nullable=True, description=_HIGH)
    soft_refusal_style: float = _share(
        nullable=True, description="share of ideal replies among the replies to soft-refusal prompts"
    )
    soft_refusal_style_low: float = _share(nullable=True, description=_LOW)
    soft_refusal_style_high: float = _share(nullable=True, description=_HIGH)
    illogical: float = _share(nullable=True, description="share of illogical replies")
    illogical_low: float = _share(nullable=True, description=_LOW)
    illogical_high: float = _share(nullable=True, description=_HIGH)
