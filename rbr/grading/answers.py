"""How the probabilities of the first answer token become a grade; the same for every backend."""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, nan
from typing import Any, TypeVar

from rbr.errors import InputError

_Token = TypeVar("_Token", int, str)


def answer_tokens(tokenizer: Any, spellings: Sequence[str], where: str) -> list[int]:
    """Token ids of the spellings that are one token; the others cannot be a first answer token.

    Args:
        tokenizer: A Hugging Face tokenizer.
        spellings: Token texts such as ``yes`` and `` Yes``.
        where: The model, for the message.

    Raises:
        InputError: There is none.
    """
    encoded = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
    ids = sorted({tokens[0] for tokens in encoded if len(tokens) == 1})
    if not ids:
        raise InputError(
            f"none of {', '.join(map(repr, spellings))} is a single token",
            where=where,
            hint="List spellings of yes and no in the profile that this model's tokenizer knows.",
        )
    return ids


def grade_of(logprobs: Mapping[_Token, float], yes: Iterable[_Token], no: Iterable[_Token], min_mass: float) -> float:
    """P(yes) / (P(yes) + P(no)) from the likeliest tokens' log probabilities.

    Args:
        logprobs: By token; one that is not among the likeliest counts as probability 0.
        yes: Tokens that mean yes, each once.
        no: Tokens that mean no, each once.
        min_mass: Smallest P(yes) + P(no), in [0, 1], at which the answer counts as read.

    Returns:
        A value in [0, 1], or NaN where there is too little mass.
    """
    p_yes = sum(exp(logprobs[token]) for token in yes if token in logprobs)
    p_no = sum(exp(logprobs[token]) for token in no if token in logprobs)
    mass = p_yes + p_no
    return p_yes / mass if mass > 0 and mass >= min_mass else nan
