"""The tables of synthetic comparisons, with their grades and scores."""

import pandera.polars as pa
import polars as pl

from resources.store.schemas.columns import (
    COMPLETION,
    FINISHED,
    MESSAGES,
    OUTCOME,
    PROMPT,
    STORED_OUTCOMES,
    column,
    count,
    share,
)


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
