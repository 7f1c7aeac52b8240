"""The default rulebook has the propositions, classes and features of the paper."""

from pathlib import Path

import pytest

from rbr.rulebook import Rulebook, load_rulebook, propositions_needed

GENERAL = {
    "fully_complies",
    "partially_complies",
    "judgement",
    "illogical_continuation_of_prompt",
    "meta_commentary",
    "disallowed_content",
}
REFUSALS = {
    "third_person",
    "threatening_language",
    "insulting_language",
    "encourage_professional_help",
    "reference_safety_policy",
    "requests_information",
}
HARD = {"apology", "inability_to_comply", "additional_content"}
SOFT = {
    "disclaimer",
    "definitive_verbiage",
    "provides_resources",
    "prescribes_solutions",
    "apology_acknowledges_emotional_state",
    "gentle_encouragement_for_help",
}
SOFT_RANKING = (("perfect_soft_refusal",), ("bad_soft_refusal",), ("disallowed_content",))


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load_rulebook(Path(__file__).parents[3] / "rulebook")


def test_the_propositions_are_the_twenty_one_of_the_paper(rulebook: Rulebook) -> None:
    assert set(rulebook.propositions) == GENERAL | REFUSALS | HARD | SOFT
    assert len(rulebook.propositions) == 21


def test_questions_are_one_short_sentence(rulebook: Rulebook) -> None:
    questions = [entry.question for entry in rulebook.propositions.values()]
    questions += [category.question for category in rulebook.content_policy.categories.values()]
    assert all(8 <= len(question.split()) <= 14 and question.endswith("?") for question in questions)
    assert len(set(questions)) == len(questions)


def test_every_proposition_has_two_to_six_examples_of_both_answers(rulebook: Rulebook) -> None:
    for proposition in rulebook.propositions.values():
        assert 2 <= len(proposition.examples) <= 6
        assert {example.answer for example in proposition.examples} == {True, False}


@pytest.mark.parametrize(
    ("response_type", "features"),
    [
        ("hard_refusal", GENERAL | REFUSALS | HARD),
        ("soft_refusal_intent", GENERAL | REFUSALS | SOFT),
        ("soft_refusal_method", GENERAL | REFUSALS | SOFT),
        ("comply", GENERAL | REFUSALS | {"inability_to_comply"}),
    ],
)
def test_features_are_those_of_the_paper(rulebook: Rulebook, response_type: str, features: set[str]) -> None:
    assert set(rulebook.behavior.response_types[response_type].features) == features


def test_a_soft_refusal_of_a_method_needs_one_proposition_beyond_its_features(rulebook: Rulebook) -> None:
    needed = {name: propositions_needed(rulebook.behavior, name) for name in rulebook.behavior.response_types}
    assert {name: len(names) for name, names in needed.items()} == {
        "comply": 13,
        "hard_refusal": 15,
        "soft_refusal_intent": 18,
        "soft_refusal_method": 19,
    }
    assert set(needed["soft_refusal_method"]) - set(needed["soft_refusal_intent"]) == {"inability_to_comply"}
    assert all(list(names) == sorted(names) for names in needed.values())


def test_the_ranking_is_that_of_the_paper_with_margins_of_one(rulebook: Rulebook) -> None:
    types = rulebook.behavior.response_types
    hard = (("perfect_hard_refusal",), ("bad_hard_refusal",), ("disallowed_content",))
    assert types["hard_refusal"].ranking == hard
    assert types["soft_refusal_intent"].ranking == types["soft_refusal_method"].ranking == SOFT_RANKING
    assert types["comply"].ranking == (
        ("fully_complies",),
        ("partially_complies",),
        ("imperfect_refusal", "perfect_refusal", "random_non_refusal"),
    )
    for rules in types.values():
        assert rules.margins == dict.fromkeys(sorted(rules.labels), 1.0)


def test_each_category_has_the_response_type_of_the_paper(rulebook: Rulebook) -> None:
    found = {code: rulebook.content_policy.response_type(code) for code in rulebook.content_policy.categories}
    comply = dict.fromkeys(["C-C", "K-C", "H-C", "SH-C", "None"], "comply")
    hard = dict.fromkeys(["C-R", "K-R", "H-R"], "hard_refusal")
    assert found == comply | hard | {"SH-R1": "soft_refusal_intent", "SH-R2": "soft_refusal_method"}


def test_a_refusal_recipe_has_one_ideal_two_bad_and_one_disallowed_slot(rulebook: Rulebook) -> None:
    for response_type in ("hard_refusal", "soft_refusal_intent", "soft_refusal_method"):
        slots = {slot.name: slot for slot in rulebook.synthesis[response_type].slots}
        assert list(slots) == ["ideal", "bad_1", "bad_2", "disallowed"]
        assert slots["bad_1"].label == slots["bad_2"].label
        assert not set(slots["bad_1"].instructions) & set(slots["bad_2"].instructions)
        assert slots["ideal"].may_be == ("ideal",)
        assert slots["disallowed"].may_be == ("disallowed",)


def test_the_best_comply_slot_has_no_instruction(rulebook: Rulebook) -> None:
    slots = {slot.label: slot for slot in rulebook.synthesis["comply"].slots}
    assert slots["fully_complies"].instructions == ("",)
    assert [slot.name for slot in rulebook.synthesis["comply"].slots] == [
        "fully_complies",
        "partially_complies",
        "imperfect_refusal",
        "perfect_refusal",
        "random_non_refusal",
    ]
