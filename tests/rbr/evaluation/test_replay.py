"""Replay of stored grades under other rules."""

from pathlib import Path

import polars as pl
import pytest

from rbr.evaluation.replay import ReplayInput, classified_replies, count_pair_changes, reclassified_replies, replay
from rbr.grading import Question, question_hash
from rbr.rulebook import Rulebook, load_rulebook

SMALL = Path(__file__).resolve().parents[2] / "assets" / "small" / "rulebook"
REFUSAL = {"apology": 0.9, "inability_to_comply": 0.9, "meta_commentary": 0.1}
REST = {"disallowed_content": 0.0, "illogical_continuation_of_prompt": 0.0, "partially_complies": 0.0}


@pytest.fixture
def rulebook() -> Rulebook:
    return load_rulebook(SMALL)


def replay_input(rulebook: Rulebook, replies: dict[str, tuple[str, str, dict[str, float]]]) -> ReplayInput:
    """Returns an input with replies to one harmful prompt.

    Args:
        rulebook: The rulebook whose questions have grades.
        replies: Slot, label and grades by completion id. REST contains the grades that are not listed.
    """
    rows = [
        (completion_id, question_hash(Question(name, entry.question, entry.examples), 0), {**REST, **grades}[name])
        for completion_id, (_, _, grades) in replies.items()
        for name, entry in rulebook.propositions.items()
        if name in {**REST, **grades}
    ]
    category = next(
        code for code, entry in rulebook.content_policy.categories.items() if entry.response_type == "hard_refusal"
    )
    completion_ids = list(replies)
    return ReplayInput(
        replies=pl.DataFrame({"completion_id": completion_ids, "prompt_id": "p", "category": category}),
        candidates=pl.DataFrame(
            {
                "completion_id": completion_ids,
                "prompt_id": "p",
                "slot": [slot for slot, _, _ in replies.values()],
                "label": [label for _, label, _ in replies.values()],
                "candidate": pl.Series([0] * len(completion_ids), dtype=pl.Int32),
                "finished": [True] * len(completion_ids),
            }
        ),
        grades=pl.DataFrame(rows, schema=["completion_id", "question", "p_yes"], orient="row"),
        few_shot=0,
        thresholds={},
    )


@pytest.fixture
def stored(rulebook: Rulebook) -> ReplayInput:
    slots = {slot.label: slot.name for slot in rulebook.synthesis["hard_refusal"].slots}
    return replay_input(
        rulebook,
        {
            "good": (slots["perfect_refusal"], "perfect_refusal", REFUSAL),
            "cold": (slots["bad_refusal"], "bad_refusal", {**REFUSAL, "apology": 0.2}),
        },
    )


def with_rule(rulebook: Rulebook, refusal: str) -> Rulebook:
    behavior = rulebook.behavior.model_copy(update={"derived": {**rulebook.behavior.derived, "refusal": refusal}})
    return rulebook.model_copy(update={"behavior": behavior})


def classes(rulebook: Rulebook, stored: ReplayInput) -> dict[str, str | None]:
    return dict(replay(stored, rulebook).classes.select("completion_id", "class_name").iter_rows())


def test_stored_grades_decide_the_class(rulebook: Rulebook, stored: ReplayInput) -> None:
    assert classes(rulebook, stored) == {"good": "ideal", "cold": "unacceptable"}


def test_a_wider_class_rule_reclassifies_the_replies_that_it_covers(rulebook: Rulebook, stored: ReplayInput) -> None:
    wider = with_rule(rulebook, "inability_to_comply")
    rows = reclassified_replies(replay(stored, rulebook), replay(stored, wider)).to_dicts()
    assert rows == [
        {
            "completion_id": "cold",
            "prompt_id": "p",
            "response_type_before": "hard_refusal",
            "class_before": "unacceptable",
            "response_type": "hard_refusal",
            "class_name": "ideal",
        }
    ]


def test_equal_rules_reclassify_nothing_and_keep_every_comparison(rulebook: Rulebook, stored: ReplayInput) -> None:
    one, other = replay(stored, rulebook), replay(stored, rulebook)
    assert reclassified_replies(one, other).is_empty()
    assert count_pair_changes(one, other) == {"kept": 1, "turned": 0, "gone": 0, "new": 0}


def test_a_reply_whose_class_its_slot_does_not_allow_loses_its_comparison(
    rulebook: Rulebook, stored: ReplayInput
) -> None:
    stricter = with_rule(rulebook, "apology and meta_commentary")
    counts = count_pair_changes(replay(stored, rulebook), replay(stored, stricter))
    assert counts == {"kept": 0, "turned": 0, "gone": 1, "new": 0}
    assert count_pair_changes(replay(stored, stricter), replay(stored, rulebook))["new"] == 1


def test_a_reversed_ranking_turns_the_comparison(rulebook: Rulebook, stored: ReplayInput) -> None:
    rules = rulebook.behavior.response_types["hard_refusal"]
    turned = rules.model_copy(update={"ranking": rules.ranking[::-1]})
    types = {**rulebook.behavior.response_types, "hard_refusal": turned}
    behavior = rulebook.behavior.model_copy(update={"response_types": types})
    other = rulebook.model_copy(update={"behavior": behavior})
    assert count_pair_changes(replay(stored, rulebook), replay(stored, other))["turned"] == 1


def test_a_reworded_question_makes_classes_unknown_and_lists_the_missing_grades(
    rulebook: Rulebook, stored: ReplayInput
) -> None:
    entry = rulebook.propositions["apology"].model_copy(update={"question": "Is there a sorry in it?"})
    propositions = rulebook.propositions.model_copy(update={"root": {**rulebook.propositions.root, "apology": entry}})
    other = rulebook.model_copy(update={"propositions": propositions})
    after = replay(stored, other)
    assert after.missing.rows() == [("good", "apology"), ("cold", "apology")]
    assert after.classes["class_name"].to_list() == [None, None]
    before = replay(stored, rulebook)
    assert classified_replies(before, before).height == 2
    assert classified_replies(before, after).is_empty()
    assert reclassified_replies(before, after).is_empty()


def test_thresholds_belong_to_the_wording_of_a_question(rulebook: Rulebook, stored: ReplayInput) -> None:
    asked = rulebook.propositions["apology"]
    key = question_hash(Question("apology", asked.question, asked.examples), 0)
    generous = ReplayInput(**{**vars(stored), "thresholds": {key: 0.1}})
    assert classes(rulebook, generous) == {"good": "ideal", "cold": "ideal"}


def test_an_empty_input_gives_an_empty_result(rulebook: Rulebook, stored: ReplayInput) -> None:
    empty = ReplayInput(stored.replies.clear(), stored.candidates.clear(), stored.grades.clear(), 0, {})
    replayed = replay(empty, rulebook)
    assert (replayed.classes.height, replayed.missing.height, replayed.pairs.height) == (0, 0, 0)
