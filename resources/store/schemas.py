"""The columns of the stored tables: type, range and meaning. `reward_schemas` has those about the fitted reward.

The store checks frames against these schemas. Ids are content hashes of 16 hexadecimal characters. Probabilities and
shares are in [0, 1]. A missing measurement is null, never 0 or 0.5.
"""

import pandera.polars as pa
import polars as pl

from rbr.grading.acceptance import OUTCOMES
from resources.store.columns import (
    CHECKPOINT,
    COMPLETION,
    FINISHED,
    GRADED,
    HIGH,
    LEAST,
    LOW,
    MESSAGES,
    MOST,
    OUTCOME,
    PROMPT,
    STORED_OUTCOMES,
    VARIANT,
    column,
    count,
    share,
)


class Snapshots(pa.DataFrameModel):
    """Parsed content of the user's files."""

    name: str = column(description="name of the snapshot, such as rulebook/behavior")
    content: str = column(description="parsed content of the file, as JSON")
    data_version: str = column(description="hash of the content")


class CheckedPrompts(pa.DataFrameModel):
    """Prompts of the data file, checked against the chat template and the context of each model."""

    prompt_id: str = column(description=PROMPT)
    messages: str = column(description=MESSAGES)
    category: str = column(nullable=True, description="category in the data file; null if the grader finds it")
    held_out: str = column(
        nullable=True, description="test split that the prompt is reserved for; null if the hash of the prompt decides"
    )
    problem: str = column(nullable=True, description="why a model cannot read the prompt; null if all models can")


class LabeledPrompts(pa.DataFrameModel):
    """Prompts with category and response type."""

    prompt_id: str = column(description=PROMPT)
    messages: str = column(description=MESSAGES)
    category: str = column(description="category in the content policy")
    category_source: str = column(
        isin=["given", "grader"], description="source of the category: given (in the data file) or grader"
    )
    p_category: float = share(nullable=True, description="P(yes) of the category; null if the category was given")
    response_type: str = column(description="response type of the category")
    held_out: str = column(
        nullable=True, description="test split that the prompt is reserved for; null if the hash of the prompt decides"
    )


class QuarantinedPrompts(pa.DataFrameModel):
    """Prompts that are used nowhere: a model cannot read them, or the grader could not find their category."""

    prompt_id: str = column(description=PROMPT)
    messages: str = column(description=MESSAGES)
    best_category: str = column(
        nullable=True, description="category with the highest P(yes) that could be read; null if no answer was read"
    )
    p_category: float = share(nullable=True, description="P(yes) of that category; null if no answer was read")
    reason: str = column(description="why the prompt is left out")


class TrainingPrompts(pa.DataFrameModel):
    """Prompts for training. The response type is not stored; readers look it up by category."""

    prompt_id: str = column(description=PROMPT)
    messages: str = column(description=MESSAGES)
    category: str = column(description="category in the content policy")


class TestPrompts(TrainingPrompts):
    """Prompts for the evaluation."""

    split: str = column(description="test (chosen by hash), or the name of a held-out split, such as unseen_topics")


class Completions(pa.DataFrameModel):
    """Cells: sampled replies."""

    completion_id: str = column(description=COMPLETION)
    prompt_id: str = column(description=PROMPT)
    instruction: str = column(description="instruction appended to the prompt; empty if there is none")
    policy: str = column(description="fingerprint of the policy's weights")
    sampling: str = column(description="hash of the sampling settings")
    candidate: pl.Int32 = count(description="index among the replies to the same prompt and instruction, from 0")
    text: str = column(description="the reply")
    n_tokens: pl.Int32 = count(description="length of the reply in tokens")
    finished: bool = column(description=FINISHED)


class Grades(pa.DataFrameModel):
    """Cells: raw answers of the grader."""

    completion_id: str = column(description=GRADED)
    question: str = column(description="hash of the question with its examples")
    grader: str = column(description="hash of the grader: its weights or its server's model, prompt and settings")
    p_yes: float = share(nullable=True, description="P(yes) / (P(yes) + P(no)); null unless answered")
    outcome: str = column(isin=STORED_OUTCOMES, description=OUTCOME)
    bound: float = share(description="largest possible error of p_yes from tokens that the server did not list")
    reason: str = column(nullable=True, description="why there is no grade: likeliest tokens, or the server's words")


class GraderAttacks(pa.DataFrameModel):
    """How far attacks move P(yes), by attack and proposition."""

    attack: str = column(description="name of the attack")
    proposition: str = column(description="name of the proposition")
    n: pl.Int32 = count(description="number of replies with a grade before and after the attack")
    n_missing: pl.Int32 = count(description="number of replies without one of the two grades")
    mean_shift: float = share(nullable=True, description="mean of the absolute difference of the two grades")
    max_shift: float = column(
        ge=-1.0, le=1.0, nullable=True, description="largest difference: grade after the attack, minus grade before"
    )


class AttackedClasses(pa.DataFrameModel):
    """How many replies change class under an attack."""

    attack: str = column(description="name of the attack")
    keeps_reply: bool = column(description="false if the attack replaces the reply, so that its class may change")
    n: pl.Int32 = count(description="number of replies whose class is known before and after the attack")
    n_missing: pl.Int32 = count(description="number of the other replies")
    n_changed: pl.Int32 = count(description="number of replies with another class after the attack")
    n_better: pl.Int32 = count(description="number of replies with a better class after the attack")


class CanaryAnswers(pa.DataFrameModel):
    """Answers of a grader behind a server to fixed questions, from the first time that it was asked."""

    grader: str = column(description="hash of the grader, as in grades")
    probe: str = column(description="hash of the conversation and the question")
    p_yes: float = share(nullable=True, description="P(yes); null unless answered")
    outcome: str = column(isin=STORED_OUTCOMES, description=OUTCOME)
    p_yes_again: float = share(nullable=True, description="P(yes) of the same question, asked a second time at once")
    outcome_again: str = column(isin=STORED_OUTCOMES, description="outcome of the second time")
    asked_at: str = column(description="when the question was asked, in UTC")


class Scores(pa.DataFrameModel):
    """Cells: reward model scores."""

    completion_id: str = column(description=COMPLETION)
    reward_model: str = column(description="fingerprint of the reward model's weights")
    score: float = column(nullable=True, description="R_rm of the reply; null if the reply could not be scored")


class SyntheticComparisons(pa.DataFrameModel):
    """Candidate replies, by prompt and slot of the recipe."""

    completion_id: str = column(description=COMPLETION)
    prompt_id: str = column(description=PROMPT)
    response_type: str = column(description="response type of the prompt")
    slot: str = column(description="slot of the recipe")
    label: str = column(description="label of the slot, as in the ranking")
    candidate: pl.Int32 = count(description="index among the candidates of the slot, from 0")
    text: str = column(description="the reply")
    finished: bool = column(description=FINISHED)


class PropositionGrades(pa.DataFrameModel):
    """Grades of the candidates, by proposition."""

    completion_id: str = column(description=COMPLETION)
    proposition: str = column(description="name of the proposition")
    p_yes: float = share(nullable=True, description="raw P(yes); null unless answered")
    outcome: str = column(isin=STORED_OUTCOMES, description=OUTCOME)


class RewardModelScores(pa.DataFrameModel):
    """Scores of the candidates by the helpful-only reward model."""

    completion_id: str = column(description=COMPLETION)
    score: float = column(nullable=True, description="R_rm of the reply; null if the reply could not be scored")


class GraderAgreement(pa.DataFrameModel):
    """Agreement of the grader with the gold labels, by proposition."""

    proposition: str = column(description="name of the proposition")
    n: pl.Int32 = count(description="number of gold labels with a grade")
    n_missing: pl.Int32 = count(description="number of gold labels without a grade")
    n_refused: pl.Int32 = count(description="how many of n_missing a content filter in front of the grader refused")
    n_yes: pl.Int32 = count(description="number of gold labels with a grade that say yes")
    prevalence: float = share(nullable=True, description="n_yes / n; null if n is 0")
    majority_accuracy: float = share(
        nullable=True, description="accuracy of a grader that always gives the more frequent answer"
    )
    accuracy: float = share(nullable=True, description="share of the labels that the grader agrees with")
    accuracy_low: float = share(nullable=True, description=LOW)
    accuracy_high: float = share(nullable=True, description=HIGH)
    balanced_accuracy: float = share(nullable=True, description="mean of sensitivity and specificity")
    balanced_accuracy_low: float = share(nullable=True, description=LOW)
    balanced_accuracy_high: float = share(nullable=True, description=HIGH)
    f1: float = share(nullable=True, description="harmonic mean of precision and recall")
    f1_low: float = share(nullable=True, description=LOW)
    f1_high: float = share(nullable=True, description=HIGH)
    kappa: float = column(nullable=True, ge=-1.0, le=1.0, description="Cohen's kappa; 0 is agreement by chance")
    kappa_low: float = column(nullable=True, ge=-1.0, le=1.0, description=LOW)
    kappa_high: float = column(nullable=True, ge=-1.0, le=1.0, description=HIGH)
    brier: float = share(nullable=True, description="Brier score: mean squared difference of P(yes) and label")
    brier_low: float = share(nullable=True, description=LOW)
    brier_high: float = share(nullable=True, description=HIGH)
    ece: float = share(nullable=True, description="expected calibration error of P(yes), in 10 bins of equal width")
    ece_low: float = share(nullable=True, description=LOW)
    ece_high: float = share(nullable=True, description=HIGH)
    threshold: float = share(nullable=True, description="smallest P(yes) that counts as true")


class AcceptedPropositions(pa.DataFrameModel):
    """The propositions, with the part of the agreement that later stages read."""

    proposition: str = column(description="name of the proposition")
    threshold: float = share(description="smallest P(yes) that counts as true")
    outcome: str = column(
        isin=list(OUTCOMES),
        description="accepted: the agreement reaches the bar; rejected: it does not; undecided: too few labels, or too "
        "few readable grades",
    )
    reason: str = column(nullable=True, description="why the proposition is not accepted; null if it is accepted")


class ClassAgreement(pa.DataFrameModel):
    """Class probabilities of the gold replies, compared with the classes that their labels imply."""

    response_type: str = column(description="response type of the replies")
    class_name: str = column(description="name of the class")
    n: pl.Int32 = count(description="number of labeled replies of known class whose grades could be read")
    n_unread: pl.Int32 = count(description="number of labeled replies of known class with a missing grade")
    observed: float = share(nullable=True, description="share of the replies in the class, by their labels")
    observed_low: float = share(nullable=True, description="lower end of the 95 % interval of observed")
    observed_high: float = share(nullable=True, description="upper end of the 95 % interval of observed")
    mean_probability: float = share(nullable=True, description="mean probability of the class, by the grades")
    gap: float = column(nullable=True, description="observed minus mean_probability")
    gap_low: float = column(nullable=True, description="lower end of the 95 % interval of gap")
    gap_high: float = column(nullable=True, description="upper end of the 95 % interval of gap")
    verdict: str = column(description="the mean probability matches, is too low or too high, or is undecided")
    dependence: float = column(
        nullable=True, description="part of gap that comes from propositions that are not independent"
    )
    dependence_low: float = column(nullable=True, description="lower end of the 95 % interval of dependence")
    dependence_high: float = column(nullable=True, description="upper end of the 95 % interval of dependence")
    dependence_verdict: str = column(description="whether dependence makes the mean probability wrong, as in verdict")
    accuracy: float = share(
        nullable=True, description="share of the replies in the class for which it is the most probable class"
    )


class VerifiedComparisons(pa.DataFrameModel):
    """For each prompt and slot, the first candidate whose most probable class the slot allows."""

    completion_id: str = column(description=COMPLETION)
    prompt_id: str = column(description=PROMPT)
    response_type: str = column(description="response type of the prompt")
    slot: str = column(description="slot of the recipe")
    label: str = column(description="label of the slot, as in the ranking")
    class_name: str = column(description="most probable class of the reply, whatever the unread answers are")
    p_class: float = share(description="probability of that class; the smallest one if answers are unread")


class IdealCompletions(pa.DataFrameModel):
    """Training rows of supervised fine-tuning."""

    completion_id: str = column(description=COMPLETION)
    prompt_id: str = column(description=PROMPT)
    messages: str = column(description=MESSAGES)
    text: str = column(description="the ideal reply")
    response_type: str = column(description="response type of the prompt")


class Checkpoints(pa.DataFrameModel):
    """Trained checkpoints."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)
    path: str = column(description="directory of the weights, relative to the state directory")
    chat_template_kwargs: str = column(
        nullable=True, description="arguments of the chat template in training and sampling, as JSON; null if none"
    )
    fingerprint: str = column(description="fingerprint of the weights and these arguments")
    mlflow_run_id: str = column(nullable=True, description="id of the training run in MLflow")


class CurrentCheckpoints(pa.DataFrameModel):
    """The current checkpoint of each variant."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)


class TrainingMetrics(pa.DataFrameModel):
    """Training curves."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)
    step: pl.Int32 = count(description="optimizer step")
    metric: str = column(description="name of the metric")
    value: float = column(nullable=True, description="value of the metric; null if it is not finite")


class EvaluationCompletions(pa.DataFrameModel):
    """Replies of the current checkpoints to test prompts."""

    variant: str = column(description=VARIANT)
    checkpoint: str = column(description=CHECKPOINT)
    split: str = column(description="test split of the prompt")
    prompt_id: str = column(description=PROMPT)
    completion_id: str = column(description=COMPLETION)
    text: str = column(description="the reply")
    finished: bool = column(description=FINISHED)


class EvaluationGrades(pa.DataFrameModel):
    """Grades of the evaluated replies, by proposition."""

    variant: str = column(description=VARIANT)
    completion_id: str = column(description=COMPLETION)
    proposition: str = column(description="name of the proposition")
    p_yes: float = share(nullable=True, description="raw P(yes); null unless answered")
    outcome: str = column(isin=STORED_OUTCOMES, description=OUTCOME)


class Evaluations(pa.DataFrameModel):
    """Safety metrics with 95 % intervals. A metric is null if no reply counts, or if too many replies have no class."""

    variant: str = column(description=VARIANT)
    checkpoint: str = column(description=CHECKPOINT)
    rulebook: str = column(description="hash of everything that the metrics depend on, except the replies")
    split: str = column(description="test split")
    judge: str = column(description="grader or oracle")
    n_prompts: pl.Int32 = count(description="number of prompts with a reply")
    n_completions: pl.Int32 = count(description="number of replies")
    n_compared: pl.Int32 = count(description="number of prompts to which every compared policy has a decided reply")
    n_without_class: pl.Int32 = count(description="number of replies without a class, because an answer is missing")
    n_refused: pl.Int32 = count(description="number of these replies that a content filter refused to judge")
    not_unsafe: float = share(nullable=True, description="share of replies that are not in an unsafe class")
    not_unsafe_low: float = share(nullable=True, description=LOW)
    not_unsafe_high: float = share(nullable=True, description=HIGH)
    not_unsafe_least: float = share(nullable=True, description=LEAST)
    not_unsafe_most: float = share(nullable=True, description=MOST)
    not_overrefuse: float = share(
        nullable=True, description="share of replies to comply prompts that are not over-refusals"
    )
    not_overrefuse_low: float = share(nullable=True, description=LOW)
    not_overrefuse_high: float = share(nullable=True, description=HIGH)
    not_overrefuse_least: float = share(nullable=True, description=LEAST)
    not_overrefuse_most: float = share(nullable=True, description=MOST)
    f1: float = share(nullable=True, description="harmonic mean of not_unsafe and not_overrefuse")
    f1_low: float = share(nullable=True, description=LOW)
    f1_high: float = share(nullable=True, description=HIGH)
    f1_least: float = share(nullable=True, description=LEAST)
    f1_most: float = share(nullable=True, description=MOST)
    hard_refusal_style: float = share(
        nullable=True, description="share of ideal replies among the replies to hard-refusal prompts"
    )
    hard_refusal_style_low: float = share(nullable=True, description=LOW)
    hard_refusal_style_high: float = share(nullable=True, description=HIGH)
    hard_refusal_style_least: float = share(nullable=True, description=LEAST)
    hard_refusal_style_most: float = share(nullable=True, description=MOST)
    soft_refusal_style: float = share(
        nullable=True, description="share of ideal replies among the replies to soft-refusal prompts"
    )
    soft_refusal_style_low: float = share(nullable=True, description=LOW)
    soft_refusal_style_high: float = share(nullable=True, description=HIGH)
    soft_refusal_style_least: float = share(nullable=True, description=LEAST)
    soft_refusal_style_most: float = share(nullable=True, description=MOST)
    illogical: float = share(nullable=True, description="share of illogical replies")
    illogical_low: float = share(nullable=True, description=LOW)
    illogical_high: float = share(nullable=True, description=HIGH)
    illogical_least: float = share(nullable=True, description=LEAST)
    illogical_most: float = share(nullable=True, description=MOST)
