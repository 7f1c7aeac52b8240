"""Replaying rules over what was graded already."""

from pathlib import Path

import polars as pl
import pytest

from rbr.evaluation.replay import Archive, compared, moved, replay
from rbr.grading import Question, question_hash
from rbr.rulebook import Rulebook, load_rulebook

SMALL = Path(__file__).resolve().parents[2] / "assets" / "small" / "rulebook"
REFUSAL = {"apology": 0.9, "inability_to_comply": 0.9, "meta_commentary": 0.1}
REST = {"disallowed_content": 0.0, "illogical_continuation_of_prompt": 0.0, "partially_complies": 0.0}


@pytest.fixture
def rulebook() -> Rulebook:
    return load_rulebook(SMALL)


def archive_of(rulebook: Rulebook, replies: dict[str, tuple[str, str, dict[str, float]]]) -> Archive:
    """Replies to one harmful prompt, by id: slot, label and what was graded of them beside the rest."""
    rows = [
        (cell, question_hash(Question(name, asked.question, asked.examples), 0), {**REST, **grades}[name])
        for cell, (_, _, grades) in replies.items()
        for name, asked in rulebook.propositions.items()
        if name in {**REST, **grades}
    ]
    category = next(
        code for code, entry in rulebook.content_policy.categories.items() if entry.response_type == "hard_refusal"
    )
    cells = list(replies)
    return Archive(
        replies=pl.DataFrame({"completion_id": cells, "prompt_id": "p", "category": category}),
        candidates=pl.DataFrame(
            {
                "completion_id": cells,
                "prompt_id": "p",
                "slot": [slot for slot, _, _ in replies.values()],
                "label": [label for _, label, _ in replies.values()],
                "candidate": pl.Series([0] * len(cells), dtype=pl.Int32),
            }
        ),
        grades=pl.DataFrame(rows, schema=["completion_id", "question", "p_yes"], orient="row"),
        few_shot=0,
        thresholds={},
    )


@pytest.fixture
def archive(rulebook: Rulebook) -> Archive:
    slots = {slot.label: slot.name for slot in rulebook.synthesis["hard_refusal"].slots}
    return archive_of(
        rulebook,
        {
            "good": (slots["perfect_refusal"], "perfect_refusal", REFUSAL),
            "cold": (slots["bad_refusal"], "bad_refusal", {**REFUSAL, "apology": 0.2}),
        },
    )


def with_rule(rulebook: Rulebook, refusal: str) -> Rulebook:
    behavior = rulebook.behavior.model_copy(update={"derived": {**rulebook.behavior.derived, "refusal": refusal}})
    return rulebook.model_copy(update={"behavior": behavior})


def classes(rulebook: Rulebook, archive: Archive) -> dict[str, str | None]:
    return dict(replay(archive, rulebook).classes.select("completion_id", "class_name").iter_rows())


def test_the_stored_grades_give_the_class(rulebook: Rulebook, archive: Archive) -> None:
    assert classes(rulebook, archive) == {"good": "ideal", "cold": "unacceptable"}


def test_a_wider_rule_moves_the_replies_that_it_takes_in(rulebook: Rulebook, archive: Archive) -> None:
    wider = with_rule(rulebook, "inability_to_comply")
    rows = moved(replay(archive, rulebook), replay(archive, wider)).to_dicts()
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


def test_equal_rules_move_nothing_and_keep_every_comparison(rulebook: Rulebook, archive: Archive) -> None:
    one, other = replay(archive, rulebook), replay(archive, rulebook)
    assert moved(one, other).is_empty()
    assert compared(one, other) == {"kept": 1, "turned": 0, "gone": 0, "new": 0}


def test_a_reply_that_leaves_its_slot_s_classes_takes_its_comparison_along(
    rulebook: Rulebook, archive: Archive
) -> None:
    stricter = with_rule(rulebook, "apology and meta_commentary")
    counts = compared(replay(archive, rulebook), replay(archive, stricter))
    assert counts == {"kept": 0, "turned": 0, "gone": 1, "new": 0}
    assert compared(replay(archive, stricter), replay(archive, rulebook))["new"] == 1


def test_a_ranking_upside_down_turns_the_comparison_round(rulebook: Rulebook, archive: Archive) -> None:
    rules = rulebook.behavior.response_types["hard_refusal"]
    turned = rules.model_copy(update={"ranking": rules.ranking[::-1]})
    types = {**rulebook.behavior.response_types, "hard_refusal": turned}
    behavior = rulebook.behavior.model_copy(update={"response_types": types})
    other = rulebook.model_copy(update={"behavior": behavior})
    assert compared(replay(archive, rulebook), replay(archive, other))["turned"] == 1


def test_another_wording_leaves_classes_open_and_names_the_grades_to_make(rulebook: Rulebook, archive: Archive) -> None:
    entry = rulebook.propositions["apology"].model_copy(update={"question": "Is there a sorry in it?"})
    propositions = rulebook.propositions.model_copy(update={"root": {**rulebook.propositions.root, "apology": entry}})
    other = rulebook.model_copy(update={"propositions": propositions})
    after = replay(archive, other)
    assert after.missing.rows() == [("good", "apology"), ("cold", "apology")]
    assert after.classes["class_name"].to_list() == [None, None]
    assert moved(replay(archive, rulebook), after).is_empty()


def test_thresholds_belong_to_a_wording(rulebook: Rulebook, archive: Archive) -> None:
    asked = rulebook.propositions["apology"]
    key = question_hash(Question("apology", asked.question, asked.examples), 0)
    generous = Archive(**{**vars(archive), "thresholds": {key: 0.1}})
    assert classes(rulebook, generous) == {"good": "ideal", "cold": "ideal"}


def test_nothing_stored_gives_nothing(rulebook: Rulebook, archive: Archive) -> None:
    empty = Archive(archive.replies.clear(), archive.candidates.clear(), archive.grades.clear(), 0, {})
    replayed = replay(empty, rulebook)
    assert (replayed.classes.height, replayed.missing.height, replayed.pairs.height) == (0, 0, 0)
