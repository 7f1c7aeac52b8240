"""The tables of snapshots and prompts."""

import pandera.polars as pa

from resources.store.schemas.columns import MESSAGES, PROMPT, column, share


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
