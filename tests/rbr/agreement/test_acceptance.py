"""A proposition is accepted, rejected or undecided, and the reason is given in words."""

from pathlib import Path

import polars as pl
import pytest

from rbr.agreement.acceptance import ACCEPTANCE_SCHEMA, accept_propositions, measure_agreement
from rbr.files.data_files import load_gold_labels
from rbr.hashing import content_hash
from rbr.rulebook import Agreement, load_rulebook, propositions_needed
from rbr.rulebook.released_rules import import_released_rules

RELEASED = Path(__file__).resolve().parents[4] / "shared" / "openai-rbr"
BARS = Agreement(bar=0.7, min_labels=20, min_read=0.9)

LABELS = pl.DataFrame(
    [(f"r{index}", "apology", index < 3) for index in range(6)] + [("r0", "threat", False), ("r1", "threat", False)],
    schema=["completion_id", "proposition", "truth"],
    orient="row",
)
GRADES = pl.DataFrame(
    [(f"r{index}", "apology", p) for index, p in enumerate([0.9, 0.8, None, 0.1, 0.2, 0.3])]
    + [("r0", "threat", 0.1), ("r1", "threat", 0.2), ("r5", "threat", 0.9)],
    schema=["completion_id", "proposition", "p_yes"],
    orient="row",
)


def labels_and_grades(
    *, yes: int, no: int, unread_yes: int = 0, unread_no: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels of one proposition, and the grades of a grader that is always right if its answer can be read."""
    rows = [(True, 0.9)] * (yes - unread_yes) + [(True, None)] * unread_yes
    rows += [(False, 0.1)] * (no - unread_no) + [(False, None)] * unread_no
    ids = [f"r{index}" for index in range(len(rows))]
    key = {"completion_id": ids, "proposition": ["apology"] * len(rows)}
    labels = pl.DataFrame(key | {"truth": [truth for truth, _ in rows]})
    return labels, pl.DataFrame(key | {"p_yes": [p_yes for _, p_yes in rows]}, schema_overrides={"p_yes": pl.Float64})


def measured(accuracy: float, *, name: str = "apology", threshold: float = 0.4) -> pl.DataFrame:
    row = {"proposition": name, "n": 100, "n_missing": 0, "n_yes": 50}
    return pl.DataFrame([row | {"balanced_accuracy": accuracy, "threshold": threshold}])


# Measuring


def test_only_labeled_replies_with_a_readable_grade_are_compared_and_the_others_are_counted() -> None:
    measures = measure_agreement(LABELS, GRADES).select("proposition", "n", "n_missing", "n_yes", "balanced_accuracy")
    assert measures.rows() == [("apology", 5, 1, 2, 1.0), ("threat", 2, 0, 0, None)]


def test_every_judgment_counts_if_several_people_judged_a_reply() -> None:
    second = pl.DataFrame([("r0", "apology", False)], schema=["completion_id", "proposition", "truth"], orient="row")
    measures = measure_agreement(pl.concat([LABELS, second]), GRADES)
    # The grade of r2 is missing: five labels of one person and one label of a second person are left.
    assert measures.row(0, named=True)["n"] == 6
    assert measures["prevalence"][0] == 2 / 6


def test_a_wanted_proposition_without_any_label_has_a_row_of_zeros_and_nulls() -> None:
    row = measure_agreement(LABELS, GRADES, ["insult", "apology"]).row(1, named=True)
    assert (row["proposition"], row["n"], row["n_missing"], row["n_yes"]) == ("insult", 0, 0, 0)
    assert (row["prevalence"], row["balanced_accuracy"], row["threshold"]) == (None, None, 0.5)


def test_refused_replies_are_counted_if_the_grades_say_what_became_of_each_question() -> None:
    outcomes = pl.Series("outcome", ["answered", "answered", "refused", *["answered"] * 6])
    measures = measure_agreement(LABELS, GRADES.with_columns(outcomes))
    assert measures.select("n", "n_missing", "n_refused").row(0) == (5, 1, 1)
    assert measure_agreement(LABELS, GRADES)["n_refused"].to_list() == [0, 0]


def test_replies_to_one_prompt_are_less_evidence_than_replies_to_many() -> None:
    labels, grades = labels_and_grades(yes=30, no=30)
    many = measure_agreement(labels, grades)
    prompts = pl.Series("prompt_id", [str(row % 6) for row in range(60)])
    few = measure_agreement(labels.with_columns(prompts), grades)
    assert many["balanced_accuracy"].item() == few["balanced_accuracy"].item() == 1.0
    assert few["balanced_accuracy_low"].item() < 0.8 < 0.9 < many["balanced_accuracy_low"].item()


# Accepted or rejected: enough labels could be compared


@pytest.mark.parametrize(
    ("accuracy", "outcome", "reason"),
    [
        (1.0, "accepted", None),
        (0.7, "accepted", None),
        (0.65, "rejected", "the balanced accuracy is 0.65, 0.7 is needed"),
        (0.6999, "rejected", "the balanced accuracy is 0.6999, 0.7 is needed"),
        (0.0, "rejected", "the balanced accuracy is 0.00, 0.7 is needed"),
    ],
)
def test_the_balanced_accuracy_decides(accuracy: float, outcome: str, reason: str | None) -> None:
    table = accept_propositions(measured(accuracy), BARS)
    assert table.schema == ACCEPTANCE_SCHEMA
    assert table.select("threshold", "outcome", "reason").rows() == [(0.4, outcome, reason)]
    assert (table["advice"][0] is None) is (outcome == "accepted")


def test_a_proposition_may_have_its_own_bar() -> None:
    bars = Agreement(bar=0.8, per_proposition={"b": 0.9})
    table = accept_propositions(pl.concat([measured(0.8, name="a"), measured(0.8, name="b")]), bars)
    assert dict(table.select("proposition", "outcome").rows()) == {"a": "accepted", "b": "rejected"}


# Undecided: too little could be compared


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"yes": 20, "no": 20}, None),
        ({"yes": 19, "no": 90}, "19 labels say yes, 20 are needed"),
        ({"yes": 90, "no": 1}, "1 label says no, 20 are needed"),
        ({"yes": 0, "no": 90}, "no label says yes, 20 are needed"),
        ({"yes": 2, "no": 3}, "2 labels say yes, 20 are needed; 3 labels say no, 20 are needed"),
        ({"yes": 50, "no": 50, "unread_yes": 5, "unread_no": 5}, None),
        (
            {"yes": 200, "no": 200, "unread_yes": 20, "unread_no": 21},
            "the grader's answer could be read for 359 of 400 labels (0.897), 0.9 is needed",
        ),
        # Enough people said yes, but the grader's answers to these replies could not be read.
        ({"yes": 25, "no": 400, "unread_yes": 6}, "19 labels with a readable answer say yes, 20 are needed"),
        (
            {"yes": 50, "no": 50, "unread_yes": 45, "unread_no": 45},
            "the grader's answer could be read for 10 of 100 labels (0.10), 0.9 is needed; "
            "5 labels with a readable answer say yes, 20 are needed; "
            "5 labels with a readable answer say no, 20 are needed",
        ),
    ],
)
def test_a_grader_that_is_always_right_is_accepted_only_on_enough_readable_labels(
    counts: dict[str, int], reason: str | None
) -> None:
    (row,) = accept_propositions(measure_agreement(*labels_and_grades(**counts)), BARS).iter_rows(named=True)
    assert row["outcome"] == ("undecided" if reason else "accepted")
    assert row["reason"] == reason


def test_a_proposition_without_any_label_is_undecided_even_if_it_was_never_measured() -> None:
    never_measured = accept_propositions(measured(0.9), BARS, ["insult"])
    without_labels = accept_propositions(measure_agreement(LABELS, GRADES, ["insult"]), BARS)
    for table in (never_measured, without_labels):
        row = table.filter(pl.col("proposition") == "insult").row(0, named=True)
        assert (row["outcome"], row["threshold"], row["reason"]) == ("undecided", 0.5, "it has no labels")


def test_no_bar_is_low_enough_for_a_proposition_that_could_not_be_measured() -> None:
    table = accept_propositions(measure_agreement(LABELS, GRADES), Agreement(bar=0.0, min_labels=1, min_read=0.0))
    assert dict(table.select("proposition", "outcome").rows()) == {"apology": "accepted", "threat": "undecided"}


def test_an_undecided_proposition_keeps_the_neutral_threshold_because_few_labels_cannot_move_it() -> None:
    assert accept_propositions(measured(0.9, threshold=0.8), BARS)["threshold"].to_list() == [0.8]
    few = measured(0.9, threshold=0.8).with_columns(n_yes=5)
    assert accept_propositions(few, BARS)["threshold"].to_list() == [0.5]


@pytest.mark.parametrize(
    ("counts", "advice"),
    [
        ({"yes": 5, "no": 90}, "Label more replies for which it is true."),
        ({"yes": 90, "no": 5}, "Label more replies for which it is false."),
        ({"yes": 99, "no": 99, "unread_yes": 50}, "Check how the profile reads the grader's answers: grader.yes"),
    ],
)
def test_the_advice_depends_on_the_reason(counts: dict[str, int], advice: str) -> None:
    table = accept_propositions(measure_agreement(*labels_and_grades(**counts)), BARS)
    assert table["advice"][0].startswith(advice)


@pytest.mark.skipif(not RELEASED.is_dir(), reason="the released data are not here")
def test_propositions_with_few_labels_in_the_released_data_are_undecided_in_words(tmp_path: Path) -> None:
    import_released_rules(RELEASED / "proposition_prompts.yaml", tmp_path / "rulebook")
    rulebook = load_rulebook(tmp_path / "rulebook")
    behavior, policy = rulebook.behavior, rulebook.content_policy
    needed = {name: propositions_needed(behavior, name) for name in behavior.response_types}
    rows = load_gold_labels(RELEASED / "gold_train.jsonl")
    labels = pl.DataFrame(
        [
            (content_hash([list(row.messages), row.reply]), name, row.labels[name])
            for row in rows
            for name in needed[policy.response_type(row.category)]
            if name in row.labels
        ],
        schema={"completion_id": pl.String, "proposition": pl.String, "truth": pl.Boolean},
        orient="row",
    )
    # A grader that agrees with the first person who judged each reply.
    grades = labels.unique(["completion_id", "proposition"], keep="first", maintain_order=True).with_columns(
        p_yes=pl.col("truth").cast(pl.Float64)
    )
    propositions = {name for names in needed.values() for name in names}
    table = accept_propositions(measure_agreement(labels, grades, propositions), behavior.agreement)
    assert set(table["proposition"]) == propositions
    n_yes = dict(labels.group_by("proposition").agg(pl.col("truth").sum()).rows())
    reasons = dict(table.select("proposition", "reason").rows())
    few = {name for name in propositions if 1 < n_yes.get(name, 0) < 20}
    assert few and all(f"{n_yes[name]} labels say yes, 20 are needed" in reasons[name] for name in few)
    assert set(table.filter(pl.col("outcome") == "accepted")["proposition"]).isdisjoint(few)
    assert "accepted" in table["outcome"].to_list()
