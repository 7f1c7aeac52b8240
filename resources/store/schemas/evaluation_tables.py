"""The tables about the evaluation of the trained policies."""

import pandera.polars as pa
import polars as pl

from resources.store.schemas.columns import (
    CHECKPOINT,
    COMPLETION,
    FINISHED,
    HIGH,
    LEAST,
    LOW,
    MOST,
    OUTCOME,
    PROMPT,
    STORED_OUTCOMES,
    VARIANT,
    column,
    count,
    share,
)


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
