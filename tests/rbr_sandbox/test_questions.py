from collections.abc import Iterable
from random import Random

import pytest

from rbr.rulebook import load_rulebook
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.questions import (
    answer_of_two,
    compose,
    compose_negated,
    compose_two,
    fill,
    held_out_forms,
    held_out_phrases,
)
from rbr_sandbox.text_patterns import exchange, expand, splice
from rbr_sandbox.wordings import (
    CATEGORY_QUESTIONS,
    EXTRA_FORMS,
    EXTRA_PHRASES,
    HELD_OUT_FORMS,
    HELD_OUT_PHRASES,
    NEGATED_FORMS,
    PHRASE_TYPES,
    PHRASES,
    QUESTION_FORMS,
    Phrases,
    PhraseType,
)


def test_a_pattern_expands_to_every_choice_and_keeps_its_blanks() -> None:
    assert expand("I {can't|won't} {act}{| now}.") == (
        "I can't {act}.", "I can't {act} now.", "I won't {act}.", "I won't {act} now.",
    )  # fmt: skip


def test_a_splice_begins_like_one_text_and_ends_like_the_other() -> None:
    spliced = {splice(Random(i), "warn of a ban", "threaten the user") for i in range(200)}
    assert {"warn the user", "warn threaten the user", "warn of a user"} <= spliced
    assert all(text.startswith("warn") and text.endswith("user") for text in spliced)


def test_an_exchange_adopts_one_difference() -> None:
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
    ("first", "second", "joiner", "answer"),
    [
        (True, True, "and", True), (True, False, "and", False), (False, True, "or", True), (False, False, "or", False),
        (True, False, "but not", True), (True, True, "but not", False), (False, False, "but not", False),
    ],
)  # fmt: skip
def test_the_joiner_decides_the_answer_of_a_question_about_two_attributes(
    first: bool, second: bool, joiner: str, answer: bool
) -> None:
    assert answer_of_two({"a": first, "b": second}, "a", "b", joiner) is answer


def test_every_proposition_has_phrases_and_held_out_phrases_and_every_category_has_questions() -> None:
    assert set(PROPOSITIONS) <= set(PHRASES) and set(HELD_OUT_PHRASES) == set(PROPOSITIONS)
    assert set(CATEGORY_QUESTIONS) == set(load_rulebook("rulebook").content_policy.categories)


def _training_phrases(name: str) -> list[Phrases]:
    return [table[name] for table in (PHRASES, EXTRA_PHRASES) if name in table]


def _expanded(phrases: Iterable[Phrases], phrase_type: PhraseType) -> set[str]:
    return {text for each in phrases for text in each.of(phrase_type)}


def _training_words() -> set[str]:
    texts = [
        text for table in (QUESTION_FORMS, EXTRA_FORMS, NEGATED_FORMS) for forms in table.values() for text in forms
    ]
    for phrase_type in PHRASE_TYPES:
        texts += _expanded([*PHRASES.values(), *EXTRA_PHRASES.values()], phrase_type)
    return _words(texts)


def _words(texts: Iterable[str]) -> set[str]:
    """The words in lower case, without punctuation and blanks."""
    words: set[str] = set()
    for text in texts:
        text = text.lower().replace("<->", "").replace("<>", "")
        words.update("".join(c if c.isalpha() or c in "'-" else " " for c in text).split())
    return words


@pytest.mark.parametrize("name", PROPOSITIONS)
def test_held_out_questions_consist_of_training_words_and_are_not_trained_on(name: str) -> None:
    for phrase_type in PHRASE_TYPES:
        assert not _expanded(_training_phrases(name), phrase_type) & _expanded([HELD_OUT_PHRASES[name]], phrase_type)
    assert not _words(held_out_forms(name) + held_out_phrases(name)) - _training_words()


def test_no_phrase_names_two_attributes() -> None:
    owners: dict[str, str] = {}
    assert set(EXTRA_PHRASES) <= set(PHRASES)
    for name in PHRASES:
        for phrase_type in PHRASE_TYPES:
            for phrase in _expanded(_training_phrases(name), phrase_type):
                assert owners.setdefault(phrase, name) == name, phrase


def test_questions_are_composed_from_forms_and_phrases_and_repeat_with_the_seed() -> None:
    rng = Random(0)
    questions = [compose(rng, "apology") for _ in range(200)]
    assert len(set(questions)) > 50
    assert all(question.endswith("?") and "<" not in question for question in questions)
    assert questions == [compose(again, "apology") for again in [Random(0)] for _ in range(200)]
    text, joiner = compose_two(rng, "apology", "reason")
    assert f" {joiner} " in text
    plain = {
        fill(form, phrase)
        for phrase_type in PHRASE_TYPES
        for form in QUESTION_FORMS[phrase_type]
        for phrase in PHRASES["judgement"].of(phrase_type)
    }
    assert compose_negated(rng, "judgement") not in plain
    assert all("<" in form for forms in NEGATED_FORMS.values() for form in forms)


@pytest.mark.parametrize("name", PROPOSITIONS)
def test_spliced_and_extra_questions_use_training_words_and_are_never_held_out(name: str) -> None:
    rng = Random(1)
    questions = {compose(rng, name, splice_share=0.8, extra_share=0.3) for _ in range(3000)}
    # Extra forms and extra phrases occur.
    for forms, phrases in ((EXTRA_FORMS, PHRASES[name]), (QUESTION_FORMS, _training_phrases(name)[-1])):
        assert questions & {
            fill(form, phrase)
            for phrase_type in PHRASE_TYPES
            for form in forms[phrase_type]
            for phrase in phrases.of(phrase_type)
        }
    assert not _words(questions) - _training_words()
    held_out = {
        fill(form, phrase)
        for phrase_type in PHRASE_TYPES
        for form in (*QUESTION_FORMS[phrase_type], *HELD_OUT_FORMS[phrase_type])
        for phrases in (*_training_phrases(name), HELD_OUT_PHRASES[name])
        for phrase in phrases.of(phrase_type)
        if form in HELD_OUT_FORMS[phrase_type] or phrase in HELD_OUT_PHRASES[name].of(phrase_type)
    }
    assert not questions & held_out
