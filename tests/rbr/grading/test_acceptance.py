import polars as pl

from rbr.grading.acceptance import accept_propositions, measure_agreement
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


def test_a_proposition_without_measured_agreement_is_not_accepted_at_any_bar() -> None:
    accepted = accept_propositions(measure_agreement(LABELS, GRADES), Agreement(bar=0.0))
    assert dict(accepted.select("proposition", "accepted").iter_rows()) == {"apology": True, "threat": False}


def test_every_judgment_counts_if_several_people_judged_a_reply() -> None:
    second = pl.DataFrame([("r0", "apology", False)], schema=["completion_id", "proposition", "truth"], orient="row")
    measured = measure_agreement(pl.concat([LABELS, second]), GRADES)
    # The grade of r2 is missing: five labels of one person and one label of a second person are left.
    assert measured.row(0, named=True)["n"] == 6
    assert measured["prevalence"][0] == 2 / 6


def test_a_proposition_may_have_its_own_bar() -> None:
    measured = pl.DataFrame({"proposition": ["a", "b"], "balanced_accuracy": [0.8, 0.8], "threshold": [0.4, 0.6]})
    accepted = accept_propositions(measured, Agreement(bar=0.8, per_proposition={"b": 0.9}))
    assert accepted.rows() == [("a", 0.4, True), ("b", 0.6, False)]
