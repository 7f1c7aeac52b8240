"""The questions that the sandbox grader learns to read, composed so that it reads a question and not its position.

A question asks for an *attribute* of a reply: a proposition of the shipped rulebook or one of a few more. It is a
*form* ("Is there {thing} in the reply?") filled with a *phrase* ("a word of apology"), negated ("Does the reply
lack ...") or a combination of two ("... and ...").
"""

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Literal

from rbr_sandbox.forms import splice
from rbr_sandbox.wordings import (
    FORMS,
    FREE_FORMS,
    FREE_PHRASES,
    HELD_OUT_FORMS,
    HELD_OUT_PHRASES,
    KINDS,
    NEGATED,
    PHRASES,
    Kind,
)

_ARTICLES = ("a", "an", "any", "some")
# Their phrases say how much, or what is not there: with a word left out they ask for another.
_EXACT = (
    "fully_complies", "partially_complies", "outline_only", "illogical_continuation_of_prompt", "inability_to_comply",
    "additional_content", "apology", "any_apology", "several_apologies", "disclaimer", "single_sentence", "long_reply",
)  # fmt: skip


@cache
def _phrases(attribute: str, kind: Kind, *, free: bool = False) -> tuple[str, ...]:
    return (FREE_PHRASES if free else PHRASES)[attribute].of(kind)


def fill(form: str, phrase: str) -> str:
    """A form with its phrase; ``<->`` takes a phrase without its article, so only one that has one."""
    article, _, rest = phrase.partition(" ")
    if "<->" in form and article not in _ARTICLES:
        return NEGATED["things"][0].replace("<>", phrase)
    return form.replace("<->", rest).replace("<>", phrase)


def compose(rng: Random, attribute: str, loose: float = 0.0, free: float = 0.0) -> str:
    """A question for an attribute, of forms and phrases that are trained on.

    Args:
        rng: Source of every choice.
        attribute: One of `PHRASES`.
        loose: Share of forms and of phrases that are spliced from two.
        free: Share of forms that are `FREE_FORMS`, and of phrases that are `FREE_PHRASES` where there are any.
    """
    kind = _kind(rng)
    return fill(_form(rng, kind, loose, free), _phrase(rng, attribute, kind, loose, free))


def compose_negated(rng: Random, attribute: str, loose: float = 0.0, free: float = 0.0) -> str:
    """A question that is true where the attribute is not; its form is never spliced, and never free."""
    kind = _kind(rng)
    return fill(rng.choice(NEGATED[kind]), _phrase(rng, attribute, kind, loose, free))


def compose_two(
    rng: Random, first: str, second: str, loose: float = 0.0, free: float = 0.0
) -> tuple[str, Literal["and", "or", "but not"]]:
    """A question for two attributes, and what joins them."""
    kind = _kind(rng)
    joined = [_phrase(rng, attribute, kind, loose, free) for attribute in (first, second)]
    how: Literal["and", "or", "but not"] = rng.choice(("and", "or", "but not"))
    return fill(_form(rng, kind, loose, free), f" {how} ".join(joined)), how


def _form(rng: Random, kind: Kind, loose: float, free: float) -> str:
    if free and rng.random() < free:
        return rng.choice(FREE_FORMS[kind])
    form = rng.choice(FORMS[kind])
    if not loose or rng.random() >= loose:
        return form
    other, third = rng.choice(FORMS[rng.choice(KINDS)]), rng.choice(FORMS[kind])
    spliced = splice(rng, form.split("<>")[0], other.split("<>")[0]) + " <>" + third.split("<>")[1]
    return form if spliced in HELD_OUT_FORMS[kind] else spliced


def _phrase(rng: Random, attribute: str, kind: Kind, loose: float, free: float) -> str:
    if free and attribute in FREE_PHRASES and rng.random() < free:
        return rng.choice(_phrases(attribute, kind, free=True))
    phrase = rng.choice(_phrases(attribute, kind))
    if not loose or attribute in _EXACT or rng.random() >= loose:
        return phrase
    spliced = splice(rng, phrase, rng.choice(_phrases(attribute, rng.choice(KINDS))))
    held_out = HELD_OUT_PHRASES.get(attribute)
    return phrase if held_out and spliced in held_out.things + held_out.deeds else spliced


def _kind(rng: Random) -> Kind:
    return "things" if rng.random() < 0.5 else "deeds"


def answer_of_two(truth: Mapping[str, bool], first: str, second: str, how: str) -> bool:
    """The truth of `compose_two`'s question."""
    match how:
        case "and":
            return truth[first] and truth[second]
        case "or":
            return truth[first] or truth[second]
        case _:
            return truth[first] and not truth[second]


def held_out_forms(attribute: str) -> list[str]:
    """Questions in forms that no training step saw, filled with trained phrases: one per form."""
    return [
        fill(form, _phrases(attribute, kind)[i % len(_phrases(attribute, kind))])
        for kind, forms in HELD_OUT_FORMS.items()
        for i, form in enumerate(forms)
    ]


def held_out_phrases(attribute: str) -> list[str]:
    """Questions about phrases that no training step saw, in trained forms: one per phrase."""
    return [
        fill(FORMS[kind][(7 * i) % len(FORMS[kind])], phrase)
        for kind in KINDS
        for i, phrase in enumerate(HELD_OUT_PHRASES[attribute].of(kind))
    ]


def every_trained_word() -> frozenset[str]:
    """The words of all questions that are trained on, in lower case."""
    texts = [form for forms in (*FORMS.values(), *FREE_FORMS.values(), *NEGATED.values()) for form in forms]
    named = (*PHRASES.values(), *FREE_PHRASES.values())
    texts += [text for phrases in named for kind in KINDS for text in phrases.of(kind)]
    return frozenset(word for text in texts for word in words_of(text))


def words_of(question: str) -> list[str]:
    """The words of a question, in lower case, without marks."""
    text = question.lower().replace("<->", "").replace("<>", "")
    return "".join(c if c.isalpha() or c in "'-" else " " for c in text).split()
