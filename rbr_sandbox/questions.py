"""Composes the questions of the sandbox grader, in so many wordings that the grader cannot learn them by heart.

A question asks about an *attribute* of a reply: a proposition of the shipped rulebook, or another trait such as a
farewell. A question consists of a *form* with a blank ("Is there <> in the reply?") and a *phrase* that fills the blank
("a word of apology"). A question can be negated ("Does the reply lack ...") or combine two attributes ("... and ...").
"""

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Literal

from rbr_sandbox.text_patterns import splice
from rbr_sandbox.wordings import (
    EXTRA_FORMS,
    EXTRA_PHRASES,
    HELD_OUT_FORMS,
    HELD_OUT_PHRASES,
    NEGATED_FORMS,
    PHRASE_TYPES,
    PHRASES,
    QUESTION_FORMS,
    PhraseType,
)

Joiner = Literal["and", "or", "but not"]

_ARTICLES = ("a", "an", "any", "some")
# The phrases of these attributes are never spliced. They name an amount or an absence, so a phrase that loses a word
# describes another attribute.
_EXACT = (
    "fully_complies", "partially_complies", "outline_only", "illogical_continuation_of_prompt", "inability_to_comply",
    "additional_content", "apology", "any_apology", "several_apologies", "disclaimer", "single_sentence", "long_reply",
)  # fmt: skip


def compose(rng: Random, attribute: str, splice_share: float = 0.0, extra_share: float = 0.0) -> str:
    """Composes a question about an attribute from training forms and phrases.

    Args:
        rng: Source of every random choice.
        attribute: A key of `PHRASES`.
        splice_share: Share of the forms, and of the phrases, that are spliced.
        extra_share: Share of the forms that come from `EXTRA_FORMS`, and of the phrases that come from `EXTRA_PHRASES`
            if the attribute has extra phrases.
    """
    phrase_type = _draw_phrase_type(rng)
    form = _draw_form(rng, phrase_type, splice_share, extra_share)
    return fill(form, _draw_phrase(rng, attribute, phrase_type, splice_share, extra_share))


def compose_negated(rng: Random, attribute: str, splice_share: float = 0.0, extra_share: float = 0.0) -> str:
    """Composes a question whose answer is yes if the attribute is false.

    The form comes from `NEGATED_FORMS` and is never spliced. The two shares apply to the phrase; see `compose`.
    """
    phrase_type = _draw_phrase_type(rng)
    form = rng.choice(NEGATED_FORMS[phrase_type])
    return fill(form, _draw_phrase(rng, attribute, phrase_type, splice_share, extra_share))


def compose_two(
    rng: Random, first: str, second: str, splice_share: float = 0.0, extra_share: float = 0.0
) -> tuple[str, Joiner]:
    """Composes a question about two attributes. Returns the question and the word that joins the attributes.

    `compose` describes the arguments.
    """
    phrase_type = _draw_phrase_type(rng)
    phrases = [_draw_phrase(rng, attribute, phrase_type, splice_share, extra_share) for attribute in (first, second)]
    joiner: Joiner = rng.choice(("and", "or", "but not"))
    return fill(_draw_form(rng, phrase_type, splice_share, extra_share), f" {joiner} ".join(phrases)), joiner


def answer_of_two(truth: Mapping[str, bool], first: str, second: str, joiner: str) -> bool:
    """Returns the answer to a question from `compose_two`."""
    match joiner:
        case "and":
            return truth[first] and truth[second]
        case "or":
            return truth[first] or truth[second]
        case _:
            return truth[first] and not truth[second]


def fill(form: str, phrase: str) -> str:
    """Fills a form with a phrase.

    ``<->`` takes the phrase without its article. If the phrase has no article, the first negated form for noun phrases
    replaces the form.
    """
    article, _, rest = phrase.partition(" ")
    if "<->" in form and article not in _ARTICLES:
        return NEGATED_FORMS["noun"][0].replace("<>", phrase)
    return form.replace("<->", rest).replace("<>", phrase)


def held_out_forms(attribute: str) -> list[str]:
    """Returns one question in each held-out form, with a training phrase."""
    return [
        fill(form, _phrases(attribute, phrase_type)[i % len(_phrases(attribute, phrase_type))])
        for phrase_type, forms in HELD_OUT_FORMS.items()
        for i, form in enumerate(forms)
    ]


def held_out_phrases(attribute: str) -> list[str]:
    """Returns one question with each held-out phrase, in a training form."""
    return [
        fill(QUESTION_FORMS[phrase_type][(7 * i) % len(QUESTION_FORMS[phrase_type])], phrase)
        for phrase_type in PHRASE_TYPES
        for i, phrase in enumerate(HELD_OUT_PHRASES[attribute].of(phrase_type))
    ]


def _draw_phrase_type(rng: Random) -> PhraseType:
    return "noun" if rng.random() < 0.5 else "verb"


def _draw_form(rng: Random, phrase_type: PhraseType, splice_share: float, extra_share: float) -> str:
    """Draws a form. A spliced form joins parts of three forms and never equals a held-out form."""
    if extra_share and rng.random() < extra_share:
        return rng.choice(EXTRA_FORMS[phrase_type])
    form = rng.choice(QUESTION_FORMS[phrase_type])
    if not splice_share or rng.random() >= splice_share:
        return form
    other, third = rng.choice(QUESTION_FORMS[rng.choice(PHRASE_TYPES)]), rng.choice(QUESTION_FORMS[phrase_type])
    # Splice the text before the blank; take the text after the blank from the third form.
    spliced = splice(rng, form.split("<>")[0], other.split("<>")[0]) + " <>" + third.split("<>")[1]
    return form if spliced in HELD_OUT_FORMS[phrase_type] else spliced


def _draw_phrase(rng: Random, attribute: str, phrase_type: PhraseType, splice_share: float, extra_share: float) -> str:
    """Draws a phrase. A spliced phrase joins two phrases and never equals a held-out phrase."""
    if extra_share and attribute in EXTRA_PHRASES and rng.random() < extra_share:
        return rng.choice(_phrases(attribute, phrase_type, extra=True))
    phrase = rng.choice(_phrases(attribute, phrase_type))
    if not splice_share or attribute in _EXACT or rng.random() >= splice_share:
        return phrase
    spliced = splice(rng, phrase, rng.choice(_phrases(attribute, rng.choice(PHRASE_TYPES))))
    held_out = HELD_OUT_PHRASES.get(attribute)
    return phrase if held_out and spliced in held_out.noun + held_out.verb else spliced


@cache
def _phrases(attribute: str, phrase_type: PhraseType, *, extra: bool = False) -> tuple[str, ...]:
    return (EXTRA_PHRASES if extra else PHRASES)[attribute].of(phrase_type)
