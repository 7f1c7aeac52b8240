"""Says what to change if the judge's first token means neither yes nor no."""

import re
from collections.abc import Sequence

from rbr.grading.answers import NO_LOG_PROBABILITIES
from rbr.grading.server.responses import AnswerReader, Choice

THINKING = (
    "The judge thinks before it answers. Set grader.chat_template_kwargs to {enable_thinking: false}, or to what "
    "switches thinking off for this model."
)
"""What to change if the judge thinks first."""

_YES_OR_NO = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
# A chat template can begin the thought itself, so the judge's first token is the first word of the thought.
_FIRST_WORDS_OF_A_THOUGHT = {"okay", "ok", "alright", "hmm", "let", "so", "well", "first"}


def hint_of_first_tokens(choices: Sequence[Choice], reasons: Sequence[str], reader: AnswerReader) -> str:
    """Returns the setting to change if no answer to the probe's questions is readable.

    Args:
        choices: The answers.
        reasons: Why they are not readable.
        reader: Reads the answers.

    Example:
        >>> from rbr.grading.answers import Reading
        >>> reader = AnswerReader(Reading(min_mass=0.5, max_bound=1.0), ("yes",), ("no",))
        >>> hint_of_first_tokens([Choice({"YES": -0.1, "NO": -2.4}, n_listed=2)], [""], reader)
        "The judge spells its answers otherwise. Add 'YES' to grader.yes and 'NO' to grader.no."
    """
    if any(choice.thinks for choice in choices):
        return THINKING
    if all(reason.startswith(NO_LOG_PROBABILITIES) for reason in reasons):
        return "The server lists other numbers in the place of log probabilities. Use another server or version."
    if spelled := _other_spellings(choices, reader):
        return f"The judge spells its answers otherwise. Add {spelled}."
    if not reader.yes_ids and any(isinstance(token, int) for choice in choices for token in choice.listed):
        return (
            "The server names tokens by their ids. Set grader.extra_body to {return_tokens_as_token_ids: false}, or "
            "grader.endpoint to completions."
        )
    firsts = [str(max(choice.listed, key=lambda token: choice.listed[token])) for choice in choices if choice.listed]
    words = {token.strip().lower() for token in firsts}
    if words & _FIRST_WORDS_OF_A_THOUGHT:
        return (
            f"The judge begins with {firsts[0]!r}: it may think before it answers. Set grader.chat_template_kwargs to "
            "{enable_thinking: false}, or use a prompt template that asks for one word."
        )
    if "" in words:
        what = "an empty token, which stands for a control token" if "" in firsts else "a blank or a line break"
        return (
            f"The judge begins with {what}. If it thinks first, set grader.chat_template_kwargs to "
            "{enable_thinking: false}. Otherwise, start the server with the chat template of the model, or set "
            "grader.prompt_template to one that asks for one word."
        )
    if all("max_bound" in reason for reason in reasons):
        return "Raise grader.top_logprobs if the server allows it, list fewer spellings, or raise grader.max_bound."
    return (
        "Use a prompt template that asks for one word, such as profiles/judge_prompt.jinja, or another judge. "
        "Lower grader.min_mass only if you have compared the judge with gold labels."
    )


def _other_spellings(choices: Sequence[Choice], reader: AnswerReader) -> str:
    """Returns the listed spellings of yes and no that the settings lack, each with its setting."""
    known = {*reader.yes, *reader.no}
    seen = dict.fromkeys(token for choice in choices for token in choice.listed if isinstance(token, str))
    spelled = [token for token in seen if token not in known and _YES_OR_NO.fullmatch(token)]
    by_answer = {answer: [repr(token) for token in spelled if answer in token.lower()] for answer in ("yes", "no")}
    return " and ".join(f"{', '.join(tokens)} to grader.{answer}" for answer, tokens in by_answer.items() if tokens)
