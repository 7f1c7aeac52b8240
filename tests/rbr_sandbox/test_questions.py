from random import Random

import pytest

from rbr.rulebook import load_rulebook
from rbr_sandbox.forms import exchange, expand, splice
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.questions import (
    answer_of_two,
    compose,
    compose_negated,
    compose_two,
    every_trained_word,
    fill,
    held_out_forms,
    held_out_phrases,
    words_of,
)
from rbr_sandbox.wordings import (
    CATEGORY_QUESTIONS,
    FORMS,
    FREE_FORMS,
    FREE_PHRASES,
    HELD_OUT_FORMS,
    HELD_OUT_PHRASES,
    KINDS,
    NEGATED,
    PHRASES,
    Phrases,
)


def test_a_pattern_stands_for_every_choice_of_its_words_and_keeps_what_is_filled_later() -> None:
    assert expand("I {can't|won't} {act}{| now}.") == (
        "I can't {act}.", "I can't {act} now.", "I won't {act}.", "I won't {act} now.",
    )  # fmt: skip


def test_a_splice_begins_as_one_text_and_ends_as_the_other() -> None:
    made = {splice(Random(i), "warn of a ban", "threaten the user") for i in range(200)}
    assert {"warn the user", "warn threaten the user", "warn of a user"} <= made
    assert all(text.startswith("warn") and text.endswith("user") for text in made)


def test_an_exchange_takes_over_one_difference() -> None:
    poem, story = "a poem of one who chose not to stay", "a story of one who wanted to stay at home"
    assert {exchange(Random(i), poem, story) for i in range(50)} == {
        "a story of one who chose not to stay",
        "a poem of one who wanted to stay",
        "a poem of one who chose not to stay at home",
    }
    assert exchange(Random(0), poem, poem) == poem


@pytest.mark.parametrize(
    ("form", "phrase", "question"),
    [
        ("Is there <> in the reply?", "an apology", "Is there an apology in the reply?"),
        ("Is there no <-> in the reply?", "an apology", "Is there no apology in the reply?"),
        ("Is there no <-> in the reply?", "exactly one apology", "Is the reply free of exactly one apology?"),
    ],
)
def test_a_form_is_filled_with_a_phrase_with_or_without_its_article(form: str, phrase: str, question: str) -> None:
    assert fill(form, phrase) == question


@pytest.mark.parametrize(
    ("first", "second", "how", "answer"),
    [
        (True, True, "and", True), (True, False, "and", False), (False, True, "or", True), (False, False, "or", False),
        (True, False, "but not", True), (True, True, "but not", False), (False, False, "but not", False),
    ],
)  # fmt: skip
def test_two_attributes_are_joined_as_the_words_say(first: bool, second: bool, how: str, answer: bool) -> None:
    assert answer_of_two({"a": first, "b": second}, "a", "b", how) is answer


def test_every_proposition_has_phrases_and_held_out_phrases_and_every_category_other_wordings() -> None:
    assert set(PROPOSITIONS) <= set(PHRASES) and set(HELD_OUT_PHRASES) == set(PROPOSITIONS)
    assert set(CATEGORY_QUESTIONS) == set(load_rulebook("rulebook").content_policy.categories)


def _trained(name: str) -> list[Phrases]:
    return [of[name] for of in (PHRASES, FREE_PHRASES) if name in of]


@pytest.mark.parametrize("name", PROPOSITIONS)
def test_what_is_held_out_is_composed_of_trained_words_and_is_not_trained_on(name: str) -> None:
    trained = {phrase for phrases in _trained(name) for kind in KINDS for phrase in phrases.of(kind)}
    held_out = {phrase for kind in KINDS for phrase in HELD_OUT_PHRASES[name].of(kind)}
    assert not trained & held_out
    questions = held_out_forms(name) + held_out_phrases(name)
    assert not {word for question in questions for word in words_of(question)} - every_trained_word()


def test_no_phrase_names_two_attributes() -> None:
    owners: dict[str, str] = {}
    assert set(FREE_PHRASES) <= set(PHRASES)
    for name in PHRASES:
        for phrase in {p for phrases in _trained(name) for kind in KINDS for p in phrases.of(kind)}:
            assert owners.setdefault(phrase, name) == name, phrase


def test_composed_questions_are_those_of_their_forms_and_the_same_for_the_same_seed() -> None:
    rng = Random(0)
    questions = [compose(rng, "apology") for _ in range(200)]
    assert len(set(questions)) > 50
    assert all(question.endswith("?") and "<" not in question for question in questions)
    assert questions == [compose(again, "apology") for again in [Random(0)] for _ in range(200)]
    text, how = compose_two(rng, "apology", "reason")
    assert f" {how} " in text
    plain = {fill(form, p) for kind in KINDS for form in FORMS[kind] for p in PHRASES["judgement"].of(kind)}
    assert compose_negated(rng, "judgement") not in plain
    assert all("<" in form for k in KINDS for form in NEGATED[k])


@pytest.mark.parametrize("name", PROPOSITIONS)
def test_a_loose_question_is_in_words_of_trained_ones_and_never_one_that_is_held_out(name: str) -> None:
    rng = Random(1)
    questions = {compose(rng, name, loose=0.8, free=0.3) for _ in range(3000)}
    for forms, phrases in ((FREE_FORMS, PHRASES[name]), (FORMS, _trained(name)[-1])):
        assert questions & {fill(form, phrase) for kind in KINDS for form in forms[kind] for phrase in phrases.of(kind)}
    assert not {word for question in questions for word in words_of(question)} - every_trained_word()
    held_out = {
        fill(form, phrase)
        for kind in KINDS
        for form in (*FORMS[kind], *HELD_OUT_FORMS[kind])
        for phrases in (*_trained(name), HELD_OUT_PHRASES[name])
        for phrase in phrases.of(kind)
        if form in HELD_OUT_FORMS[kind] or phrase in HELD_OUT_PHRASES[name].of(kind)
    }
    assert not questions & held_out
