"""Reads P(yes): turns the probabilities of the first answer token into a grade, for every backend.

A grade is P(yes) / (P(yes) + P(no)), both summed over the spellings that the profile lists. If P(yes) + P(no) is
too small, the model answered something else, and the grade is missing (NaN).
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rbr.errors import InputError

_Token = TypeVar("_Token", int, str)


def answer_tokens(tokenizer: Any, spellings: Sequence[str], where: str) -> list[int]:
    """Returns the token ids of the spellings that are a single token.

    Spellings of several tokens are ignored, because a grade is read from one token.

    Args:
        tokenizer: A Hugging Face tokenizer.
        spellings: Spellings of yes, or of no, such as ``yes`` and `` Yes``.
        where: Path or Hub id of the model, for the error message.

    Returns:
        Distinct token ids, sorted.

    Raises:
        InputError: No spelling is a single token.

    Example:
        >>> from transformers import AutoTokenizer
        >>> tokenizer = AutoTokenizer.from_pretrained("rbr_sandbox/models/grader")
        >>> tokenizer.convert_ids_to_tokens(answer_tokens(tokenizer, ["yes", "affirmatively"], where="grader"))
        ['yes']
    """
    encoded = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
    ids = sorted({tokens[0] for tokens in encoded if len(tokens) == 1})
    if not ids:
        raise InputError(
            f"none of {', '.join(map(repr, spellings))} is a single token of this model",
            where=where,
            hint="Set grader.yes and grader.no in the profile to spellings that the tokenizer encodes as one token.",
        )
    return ids


def p_yes_from_logprobs(
    logprobs: Mapping[_Token, float], yes: Iterable[_Token], no: Iterable[_Token], min_mass: float
) -> float:
    """Reads a grade from the log probabilities of the most probable tokens, which servers and vLLM return.

    Args:
        logprobs: Natural log of the probability, by token; a token that is not listed has probability 0.
        yes: Tokens that mean yes, each once.
        no: Tokens that mean no, each once.
        min_mass: Smallest P(yes) + P(no) at which the answer counts as read, in [0, 1].

    Returns:
        The grade in [0, 1], or NaN if P(yes) + P(no) is too small.

    Example:
        >>> from math import log
        >>> p_yes_from_logprobs({"yes": log(0.5), "no": log(0.5)}, ["yes", "Yes"], ["no"], min_mass=0.5)
        0.5
    """
    yes_mass = sum(exp(logprobs[token]) for token in yes if token in logprobs)
    no_mass = sum(exp(logprobs[token]) for token in no if token in logprobs)
    return float(p_yes_from_mass(yes_mass, no_mass, min_mass))


def p_yes_from_mass(yes_mass: npt.ArrayLike, no_mass: npt.ArrayLike, min_mass: float) -> npt.NDArray[np.float64]:
    """Returns P(yes) / (P(yes) + P(no)), or NaN if P(yes) + P(no) is too small.

    Args:
        yes_mass: P(yes), summed over the tokens that mean yes, in [0, 1]; any shape.
        no_mass: P(no), summed over the tokens that mean no, in [0, 1]; the same shape.
        min_mass: Smallest P(yes) + P(no) at which an answer counts as read, in [0, 1].

    Returns:
        The grades, float64 in [0, 1], in the shape of the arguments.

    Example:
        >>> p_yes_from_mass([0.6, 0.01], [0.2, 0.01], min_mass=0.5)
        array([0.75,  nan])
    """
    yes_mass = np.asarray(yes_mass, dtype=np.float64)
    mass = yes_mass + np.asarray(no_mass, dtype=np.float64)
    is_read = (mass > 0) & (mass >= min_mass)
    return np.divide(yes_mass, mass, out=np.full_like(mass, np.nan), where=is_read)
