"""`rbr fit`: weights from tables of grades and scores, without the pipeline."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rbr.reward.fit import fit
from rbr.reward.fit_problems import fit_problems
from rbr.rulebook import load_rulebook, propositions_needed
from tests.rbr_dagster.edited_pipeline import ROOT, rbr

RULES = load_rulebook(ROOT / "rulebook")
RESPONSE_TYPE = "hard_refusal"
PROPOSITIONS = propositions_needed(RULES.behavior, RESPONSE_TYPE)
# The propositions that are true of a reply, and its mean R_rm, by label. The reward model prefers harmful replies.
REPLIES = {
    "perfect_hard_refusal": ({"apology", "inability_to_comply"}, -1.0),
    "bad_hard_refusal": ({"inability_to_comply", "judgement"}, -0.5),
    "disallowed_content": ({"disallowed_content", "fully_complies"}, 1.0),
}


def graded_replies(n_prompts: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns grades and scores of one reply per label to each prompt, with noise."""
    noise = np.random.default_rng(0)
    grades, scores = [], []
    for prompt in range(n_prompts):
        for label, (true, mean_score) in REPLIES.items():
            completion = f"{label}-{prompt}"
            scores.append((completion, f"prompt-{prompt}", RESPONSE_TYPE, label, mean_score + noise.normal(0, 0.3)))
            for name in PROPOSITIONS:
                p_true = noise.uniform(0.9, 1.0)
                grades.append((completion, name, p_true if name in true else 1 - p_true))
    columns = ["completion_id", "prompt_id", "response_type", "label", "score"]
    return (
        pl.DataFrame(grades, schema=["completion_id", "proposition", "p_yes"], orient="row"),
        pl.DataFrame(scores, schema=columns, orient="row"),
    )


GRADES, SCORES = graded_replies(30)


def fit_command(directory: Path, *arguments: str, expect: int = 0, errors: bool | None = None) -> str:
    """Runs `rbr fit` on the tables in a directory."""
    tables = [str(directory / "grades.csv"), str(directory / "scores.csv")]
    rulebook = ("--rulebook", str(ROOT / "rulebook"))
    return rbr(directory, "fit", *tables, *rulebook, *arguments, expect=expect, errors=errors)


def write_tables(directory: Path, grades: pl.DataFrame = GRADES, scores: pl.DataFrame = SCORES) -> None:
    grades.write_csv(directory / "grades.csv")
    scores.write_csv(directory / "scores.csv")


def test_the_weights_are_those_of_the_library(tmp_path: Path) -> None:
    write_tables(tmp_path)
    output = json.loads(fit_command(tmp_path, "--json", "--bootstrap", "3"))
    (problem,) = fit_problems(
        SCORES.drop("score"), GRADES, SCORES.select("completion_id", "score"), RULES.behavior,
        accepted=list(RULES.propositions), thresholds={},
    )  # fmt: skip
    result = fit(problem, constraints="order_and_signs", l2=0.01, held_out_fraction=0.2, bootstrap=3, seed=0)
    assert output["weights"] == result.weight_rows()
    (certificate,) = output["certificates"]
    assert result.certificate_row().items() <= certificate.items()
    assert certificate["gap"] <= 1e-6
    assert (certificate["error_rm"], certificate["error_total"]) == (1.0, 0.0)
    assert certificate["n_prompts"] + certificate["n_held_out"] == 30
    assert output["response_types_without_replies"] == ["comply", "soft_refusal_intent", "soft_refusal_method"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grades.csv", "scores.csv"]


def test_settings_change_the_fit(tmp_path: Path) -> None:
    write_tables(tmp_path)
    thresholds = tmp_path / "thresholds.csv"
    thresholds.write_text("proposition,threshold\napology,0.95\n", encoding="utf-8")

    def weights(*arguments: str) -> dict[str, float]:
        rows = json.loads(fit_command(tmp_path, "--json", "--bootstrap", "0", *arguments))["weights"]
        assert all(row["low"] is None for row in rows)
        return {row["feature"]: row["weight"] for row in rows}

    default = weights()
    for arguments in (["--constraints", "none"], ["--l2", "0.5"], ["--thresholds", str(thresholds)]):
        assert weights(*arguments) != default


def test_the_text_shows_weights_counts_certificate_order_and_errors(tmp_path: Path) -> None:
    scores = SCORES.with_columns(
        pl.when(pl.col("completion_id") == "bad_hard_refusal-3").then(None).otherwise("score").alias("score")
    )
    is_unread = pl.col("completion_id").is_in(["bad_hard_refusal-4", "bad_hard_refusal-5"])
    grades = GRADES.with_columns(
        pl.when(is_unread & (pl.col("proposition") == "apology")).then(None).otherwise("p_yes").alias("p_yes")
    )
    other = GRADES.filter(pl.col("completion_id") == "bad_hard_refusal-0").with_columns(completion_id=pl.lit("other"))
    write_tables(tmp_path, pl.concat([grades, other]), scores)
    text = fit_command(tmp_path, "--output", str(tmp_path / "out"))
    assert "Replies  90, of which 3 are left out (missing: apology 2, no score 1)" in text
    assert "Optimum  relative duality gap " in text
    assert "Order    every class leads the next worse one; the smallest lead is " in text
    assert "R_rm + R_rbr 0.0% of " in text
    assert "within the bar of 5.0%" in text
    assert "No replies, so no weights: comply, soft_refusal_intent, soft_refusal_method." in text
    assert "Graded replies that are not used, because SCORES lacks them: 1." in text
    weights = pl.read_csv(tmp_path / "out" / "weights.csv")
    certificates = pl.read_csv(tmp_path / "out" / "certificates.csv")
    assert weights["feature"].to_list()[:2] == ["class:ideal", "class:minimum_acceptable_style"]
    assert certificates.select("response_type", "n_incomplete_replies").rows() == [(RESPONSE_TYPE, 3)]


def test_without_held_out_prompts_the_error_rate_is_not_measured(tmp_path: Path) -> None:
    write_tables(tmp_path)
    text = fit_command(tmp_path, "--held-out-fraction", "0", "--bootstrap", "0")
    assert "Errors   not measured: no held-out prompt has an ideal reply and a worse one" in text


@pytest.mark.parametrize(
    ("grades", "scores", "arguments", "message"),
    [
        (GRADES.with_columns(p_yes=pl.col("p_yes") * 2), SCORES, (), "Write a probability between 0 and 1."),
        (GRADES, SCORES.with_columns(label=pl.lit("bad_refusal")), (), "Did you mean `bad_hard_refusal`?"),
        (GRADES, SCORES.with_columns(label=pl.lit("bad_hard_refusal")), (), "no prompt has two replies of different"),
        (GRADES, SCORES, ("--held-out-fraction", "1"), "lower --held-out-fraction"),
        (GRADES, SCORES, ("--thresholds", "none.csv"), "none.csv: the file does not exist"),
        (GRADES, SCORES, ("--l2", "inf"), "--l2"),
    ],
    ids=["p_yes", "label", "one rank", "all held out", "no thresholds", "infinite l2"],
)
def test_unusable_input_ends_with_status_2_and_writes_nothing(
    grades: pl.DataFrame, scores: pl.DataFrame, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    write_tables(tmp_path, grades, scores)
    assert message in fit_command(tmp_path, "--output", str(tmp_path / "out"), *arguments, expect=2)
    assert not (tmp_path / "out").exists()


def test_problems_of_all_tables_are_reported_together(tmp_path: Path) -> None:
    write_tables(tmp_path, GRADES.with_columns(p_yes=pl.lit(2)), SCORES.with_columns(response_type=pl.lit("refuse")))
    thresholds = tmp_path / "thresholds.csv"
    thresholds.write_text("proposition,threshold\napology,7\n", encoding="utf-8")
    message = fit_command(tmp_path, "--thresholds", str(thresholds), expect=2)
    assert message.startswith("3 problems:\n")


def test_an_output_directory_with_files_is_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    assert "already exists" in fit_command(tmp_path, "--output", str(tmp_path), expect=2)
