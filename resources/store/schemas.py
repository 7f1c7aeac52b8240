"""The columns of every stored table: type, range and meaning.

Frames are checked against these where they enter and where they leave the store. Identifiers are
content hashes of 16 hexadecimal characters; probabilities and shares lie in [0, 1]; a missing
measurement is null, never 0 or 0.5.
"""

from functools import partial
from typing import Any

import pandera.polars as pa
import polars as pl

_column: Any = pa.Field
_share: Any = partial(pa.Field, ge=0.0, le=1.0)
_count: Any = partial(pa.Field, ge=0)

_PROMPT = "content hash of the prompt's messages"
_COMPLETION = "name of the completion: hash of all it was made from"
_MESSAGES = "the prompt's turns, JSON list of {role, content}"
_VARIANT = "rbr, helpful or human"
_CHECKPOINT = "hash of everything the checkpoint was trained from"


class Snapshots(pa.DataFrameModel):
    """Parsed content of the user's files."""

    name: str = _column(description="snapshot, such as rulebook/behavior")
    content: str = _column(description="parsed content as JSON")
    data_version: str = _column(description="hash of the content")


class LabeledPrompts(pa.DataFrameModel):
    """Prompts with category and response type."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    category: str = _column(description="content-policy category")
    category_source: str = _column(isin=["given", "grader"], description="who named the category")
    p_category: float = _share(nullable=True, description="P(yes) of the category; null where it was given")
    response_type: str = _column(description="response type of the category")
    held_out: str = _column(nullable=True, description="test split the prompt is reserved for")


class QuarantinedPrompts(pa.DataFrameModel):
    """Prompts without a category the grader is sure enough of."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    best_category: str = _column(nullable=True, description="category with the highest P(yes)")
    p_category: float = _share(nullable=True, description="its P(yes); null where no grade could be read")


class TrainingPrompts(pa.DataFrameModel):
    """Prompts that training may see; the response type is looked up by category, not kept."""

    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    category: str = _column(description="content-policy category")


class TestPrompts(TrainingPrompts):
    """Prompts kept for the evaluation."""

    split: str = _column(description="test (by hash) or the name of a held-out split, such as unseen_topics")


class Completions(pa.DataFrameModel):
    """Cells: sampled replies."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    instruction: str = _column(description="instruction appended to the prompt; empty for none")
    policy: str = _column(description="fingerprint of the policy's weights")
    sampling: str = _column(description="hash of the sampling settings")
    candidate: pl.Int32 = _count(description="index among the completions sampled alike")
    text: str = _column(description="the reply")
    n_tokens: pl.Int32 = _count(description="tokens of the reply")
    finished: bool = _column(description="whether the reply ended by itself")


class Grades(pa.DataFrameModel):
    """Cells: raw, uncalibrated answers of the grader."""

    completion_id: str = _column(description=_COMPLETION)
    question: str = _column(description="hash of the rendered question")
    grader: str = _column(description="fingerprint of the grader and its settings")
    p_yes: float = _share(nullable=True, description="P(yes) / (P(yes) + P(no)); null where it could not be read")


class Scores(pa.DataFrameModel):
    """Cells: reward model scores."""

    completion_id: str = _column(description=_COMPLETION)
    reward_model: str = _column(description="fingerprint of the reward model")
    score: float = _column(nullable=True, description="R_rm; null where it is not finite")


class SyntheticComparisons(pa.DataFrameModel):
    """Candidate replies, by prompt and slot of the recipe."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    response_type: str = _column(description="response type of the prompt")
    slot: str = _column(description="slot of the recipe")
    label: str = _column(description="label the slot stands for in the ranking")
    candidate: pl.Int32 = _count(description="index among the slot's candidates")
    text: str = _column(description="the reply")


class PropositionGrades(pa.DataFrameModel):
    """Grades of the candidates, by proposition."""

    completion_id: str = _column(description=_COMPLETION)
    proposition: str = _column(description="name of the proposition")
    p_yes: float = _share(nullable=True, description="raw P(yes); null where it could not be read")


class RewardModelScores(pa.DataFrameModel):
    """Scores of the candidates by the helpful-only reward model."""

    completion_id: str = _column(description=_COMPLETION)
    score: float = _column(nullable=True, description="R_rm")


class GraderAgreement(pa.DataFrameModel):
    """Grader against gold labels, by proposition."""

    proposition: str = _column(description="name of the proposition")
    n: pl.Int32 = _count(description="gold labels with a readable grade")
    prevalence: float = _share(nullable=True, description="share of gold labels that are true")
    balanced_accuracy: float = _share(nullable=True, description="mean of sensitivity and specificity")
    balanced_accuracy_low: float = _share(nullable=True, description="lower end of its 95 % interval")
    balanced_accuracy_high: float = _share(nullable=True, description="upper end of its 95 % interval")
    f1: float = _share(nullable=True, description="harmonic mean of precision and recall")
    threshold: float = _share(nullable=True, description="P(yes) from which the answer counts as true")


class AcceptedPropositions(pa.DataFrameModel):
    """What later stages need to know of the agreement."""

    proposition: str = _column(description="name of the proposition")
    threshold: float = _share(description="P(yes) from which the answer counts as true")
    accepted: bool = _column(description="whether the agreement reaches the bar")


class VerifiedComparisons(pa.DataFrameModel):
    """Per prompt and slot the first candidate whose graded class the slot allows."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    response_type: str = _column(description="response type of the prompt")
    slot: str = _column(description="slot of the recipe")
    label: str = _column(description="label the slot stands for in the ranking")
    class_name: str = _column(description="most probable class")
    p_class: float = _share(description="its probability")


class IdealCompletions(pa.DataFrameModel):
    """What supervised fine-tuning reads."""

    completion_id: str = _column(description=_COMPLETION)
    prompt_id: str = _column(description=_PROMPT)
    messages: str = _column(description=_MESSAGES)
    text: str = _column(description="the ideal reply")
    response_type: str = _column(description="response type of the prompt")


class FittedWeights(pa.DataFrameModel):
    """Weights of the linear reward."""

    response_type: str = _column(description="response type the weight applies to")
    feature: str = _column(description="class:NAME or proposition:NAME")
    weight: float = _column(description="reward per unit of the feature")
    low: float = _column(nullable=True, description="lower end of the 95 % bootstrap interval")
    high: float = _column(nullable=True, description="upper end of the 95 % bootstrap interval")


class FitCertificates(pa.DataFrameModel):
    """Evidence that the weights are the optimum, and how well they order held-out prompts."""

    response_type: str = _column(description="response type")
    n_prompts: pl.Int32 = _count(description="prompts the fit read")
    n_pairs: pl.Int32 = _count(description="ordered pairs the fit read")
    n_held_out: pl.Int32 = _count(description="prompts kept for the error rates")
    primal: float = _column(description="objective at the weights")
    dual: float = _column(description="lower bound of the objective")
    gap: float = _column(description="(primal - dual) / primal: how far the weights can be from the optimum")
    error_rm: float = _share(nullable=True, description="held-out error rate of R_rm alone")
    error_rbr: float = _share(nullable=True, description="held-out error rate of R_rbr alone")
    error_total: float = _share(nullable=True, description="held-out error rate of R_rm + R_rbr")


class Checkpoints(pa.DataFrameModel):
    """Trained checkpoints."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)
    path: str = _column(description="directory of the weights, relative to the state directory")
    fingerprint: str = _column(description="fingerprint of the weights")
    mlflow_run_id: str = _column(nullable=True, description="training run in MLflow")


class CurrentCheckpoints(pa.DataFrameModel):
    """The checkpoint that is in use, by variant."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)


class TrainingMetrics(pa.DataFrameModel):
    """Curves of the training runs."""

    variant: str = _column(description=f"sft, {_VARIANT}")
    checkpoint: str = _column(description=_CHECKPOINT)
    step: pl.Int32 = _count(description="optimizer step")
    metric: str = _column(description="name of the metric")
    value: float = _column(nullable=True, description="its value; null where it is not finite")


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
    p_yes: float = _share(nullable=True, description="raw P(yes); null where it could not be read")


class Evaluations(pa.DataFrameModel):
    """Safety metrics with 95 % intervals; null where no prompt or no reading defines them."""

    variant: str = _column(description=_VARIANT)
    checkpoint: str = _column(description=_CHECKPOINT)
    rulebook: str = _column(description="hash of the rules and of all else the metrics were read with")
    split: str = _column(description="test split")
    judge: str = _column(description="grader or oracle")
    n_prompts: pl.Int32 = _count(description="evaluated prompts")
    not_unsafe: float = _share(nullable=True, description="share of replies without disallowed content")
    not_unsafe_low: float = _share(nullable=True, description="lower end")
    not_unsafe_high: float = _share(nullable=True, description="upper end")
    not_overrefuse: float = _share(nullable=True, description="share of replies to comply prompts that do not refuse")
    not_overrefuse_low: float = _share(nullable=True, description="lower end")
    not_overrefuse_high: float = _share(nullable=True, description="upper end")
    f1: float = _share(nullable=True, description="harmonic mean of the two")
    f1_low: float = _share(nullable=True, description="lower end")
    f1_high: float = _share(nullable=True, description="upper end")
    hard_refusal_style: float = _share(nullable=True, description="share of ideal replies where a hard refusal is due")
    hard_refusal_style_low: float = _share(nullable=True, description="lower end")
    hard_refusal_style_high: float = _share(nullable=True, description="upper end")
    soft_refusal_style: float = _share(nullable=True, description="share of ideal replies where a soft refusal is due")
    soft_refusal_style_low: float = _share(nullable=True, description="lower end")
    soft_refusal_style_high: float = _share(nullable=True, description="upper end")
    illogical: float = _share(nullable=True, description="share of illogical replies")
    illogical_low: float = _share(nullable=True, description="lower end")
    illogical_high: float = _share(nullable=True, description="upper end")
