"""The tables of cells: what models answered. A cell is kept until it is pruned, whatever asks for it."""

import pandera.polars as pa
import polars as pl

from resources.store.schemas.columns import (
    COMPLETION,
    FINISHED,
    GRADED,
    OUTCOME,
    PROMPT,
    STORED_OUTCOMES,
    column,
    count,
    share,
)


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
    unclosed_thought: bool = column(description="whether a thought does not end, so that no reply follows it")
    unopened_thought: bool = column(description="whether the reply contains a closing mark that ends no thought")
    special_tokens: pl.Int32 = count(description="number of special tokens inside the reply, which are left out")


class Grades(pa.DataFrameModel):
    """Cells: raw answers of the grader."""

    completion_id: str = column(description=GRADED)
    question: str = column(description="hash of the question with its examples")
    grader: str = column(description="hash of the grader: its weights or its server's model, prompt and settings")
    p_yes: float = share(nullable=True, description="P(yes) / (P(yes) + P(no)); null unless answered")
    outcome: str = column(isin=STORED_OUTCOMES, description=OUTCOME)
    bound: float = share(description="largest possible error of p_yes from tokens that the server did not list")
    mass: float = share(nullable=True, description="P(yes) + P(no) that was seen; null if no probability was seen")
    reason: str = column(nullable=True, description="why there is no grade: likeliest tokens, or the server's words")


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
