import polars as pl

from rbr.grading.acceptance import accept, measure_agreement
from rbr.rulebook import Agreement

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


def test_only_labeled_replies_with_a_readable_grade_count() -> None:
    measured = measure_agreement(LABELS, GRADES)
    assert measured.select("proposition", "n", "balanced_accuracy").rows() == [("apology", 5, 1.0), ("threat", 2, None)]


def test_what_could_not_be_measured_is_not_accepted_whatever_the_bar() -> None:
    accepted = accept(measure_agreement(LABELS, GRADES), Agreement(bar=0.0))
    assert dict(accepted.select("proposition", "accepted").iter_rows()) == {"apology": True, "threat": False}


def test_each_judgement_of_a_reply_that_several_people_judged_counts() -> None:
    second = pl.DataFrame([("r0", "apology", False)], schema=["completion_id", "proposition", "truth"], orient="row")
    measured = measure_agreement(pl.concat([LABELS, second]), GRADES)
    # Six readable judgments: two of three no labels and both yes labels are met at 0.5.
    assert measured.row(0, named=True)["n"] == 6
    assert measured["prevalence"][0] == 2 / 6


def test_a_proposition_may_have_a_bar_of_its_own() -> None:
    measured = pl.DataFrame({"proposition": ["a", "b"], "balanced_accuracy": [0.8, 0.8], "threshold": [0.4, 0.6]})
    accepted = accept(measured, Agreement(bar=0.8, per_proposition={"b": 0.9}))
    assert accepted.rows() == [("a", 0.4, True), ("b", 0.6, False)]
