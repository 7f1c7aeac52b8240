"""Pieces of the table schemas: kinds of columns, and descriptions that several tables share."""

from functools import partial
from typing import Any

import pandera.polars as pa

column: Any = pa.Field
share: Any = partial(pa.Field, ge=0.0, le=1.0)
count: Any = partial(pa.Field, ge=0)

PROMPT = "id of the prompt: hash of its messages"
COMPLETION = "id of the reply: hash of everything that the reply was sampled from"
GRADED = "id of the graded conversation: id of a reply, hash of a gold reply, or id of a prompt"
FINISHED = "false if the reply was cut off at the maximum number of tokens"
MESSAGES = "messages of the prompt, a JSON list of {role, content}"
VARIANT = "rbr, helpful or human"
CHECKPOINT = "hash of everything that the checkpoint was trained from"
LOW = "lower end of the 95 % interval"
HIGH = "upper end of the 95 % interval"
LEAST = "value over all replies if every undecided reply counts against the metric"
MOST = "value over all replies if every undecided reply counts for the metric"
OUTCOME = "answered; unreadable: the answer was something else; refused: a content filter rejected the conversation"

STORED_OUTCOMES = ["answered", "unreadable", "refused"]
"""Outcomes of a question that are stored. A question without an answer is not stored; see `rbr.grading.Outcome`."""
