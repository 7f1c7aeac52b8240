"""The safety report shows the content of the tables on one page."""

import html
from pathlib import Path

import pytest

from assets.evaluation import evaluation_metrics
from assets.report import SAMPLED_PROMPTS, safety_report
from rbr.errors import InputError
from tests.assets.evaluated import ANSWER, CASH, HARM, REFUSAL, REPLIES, SAFE, fill_test_prompts, judged, reply
from tests.assets.project import Project, as_messages, name_of, version


def fill_fit(project: Project, weight: float = 2.5) -> None:
    ideal = {"response_type": "hard_refusal", "feature": "class:ideal", "sign": "free"}
    project.fill("fitted_weights", [{**ideal, "weight": weight, "low": 1.0, "high": 3.0}])
    certificate = {"n_prompts": 7, "n_pairs": 21, "n_held_out": 3, "primal": 0.5, "dual": 0.5, "gap": 0.0}
    certificate |= {"n_incomplete_replies": 0, "spread": 1.0, "hinge_loss": 0.1, "constraint_price": 0.0}
    certificate |= {"past_margin": 0.9, "order_lead": 0.25}
    errors = {"n_error_pairs": 9, "n_error_pairs_left_out": 0, "error_rm": 0.5, "error_rbr": 0.0, "error_total": 0.0}
    project.fill("fit_certificates", [{"response_type": "hard_refusal", **certificate, **errors}])
    project.fill(
        "grader_agreement",
        [
            {"proposition": "apology", "n": 7, "n_missing": 1, "n_refused": 0, "n_yes": 3}
            | {"balanced_accuracy": 0.875, "threshold": 0.5}
        ],
    )


@pytest.fixture(scope="module")
def _evaluated(_snapshots_taken: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _snapshots_taken.copy(tmp_path_factory.mktemp("evaluated"))
    fill_test_prompts(project)
    fill_fit(project)
    judged(project, REPLIES).make(evaluation_metrics)
    return project


@pytest.fixture
def evaluated(_evaluated: Project, tmp_path: Path) -> Project:
    """A project with everything that the report shows."""
    return _evaluated.copy(tmp_path / "project")


def page(project: Project) -> str:
    return html.unescape(project.artifacts.report.read_text(encoding="utf-8"))


def test_the_page_shows_metrics_weights_agreement_and_replies(evaluated: Project) -> None:
    result = evaluated.make(safety_report)
    text = page(evaluated)
    assert text.lstrip().lower().startswith("<!doctype html>")
    for shown in (SAFE, HARM, REFUSAL, ANSWER, "disallowed", "apology", "rbr", "helpful", "human", "unseen_topics"):
        assert shown in text, shown
    assert result.metadata is not None
    assert result.metadata["report"].value == str(evaluated.artifacts.report)
    assert result.metadata["bytes"] == evaluated.artifacts.report.stat().st_size


def test_the_page_needs_no_network_and_runs_no_script(evaluated: Project) -> None:
    evaluated.make(safety_report)
    text = page(evaluated).lower()
    assert "<script" not in text
    assert 'src="http' not in text and 'href="http' not in text


def test_equal_content_gives_an_equal_page_and_a_new_weight_another_page(evaluated: Project) -> None:
    first = version(evaluated.make(safety_report))
    shown = page(evaluated)
    assert version(evaluated.make(safety_report)) == first
    fill_fit(evaluated, weight=2.75)
    assert version(evaluated.make(safety_report)) != first
    assert page(evaluated) != shown
    fill_fit(evaluated)
    assert version(evaluated.make(safety_report)) == first
    assert page(evaluated) == shown


def test_html_in_a_reply_is_shown_as_text(evaluated: Project) -> None:
    rows = evaluated.store.read("evaluation_completions").to_dicts()
    hostile = "<script>alert('x')</script>"
    evaluated.fill("evaluation_completions", [{**row, "text": hostile} for row in rows])
    evaluated.make(safety_report)
    written = evaluated.artifacts.report.read_text(encoding="utf-8")
    assert hostile not in written
    assert "&lt;script&gt;" in written


def test_only_a_few_prompts_of_each_response_type_are_shown(evaluated: Project) -> None:
    prompts = [f"Tell me how to steal a wallet, version {number}." for number in range(SAMPLED_PROMPTS + 2)]
    evaluated.fill(
        "test_prompts",
        [
            {"prompt_id": name_of(text), "messages": as_messages(text), "category": "K-R", "split": "test"}
            for text in prompts
        ],
    )
    judged(evaluated, [reply("rbr", text, REFUSAL) for text in prompts])
    evaluated.make(safety_report)
    assert sum(text in page(evaluated) for text in prompts) == SAMPLED_PROMPTS


def test_held_out_prompts_are_shown_if_the_test_split_has_none(evaluated: Project) -> None:
    held_out = [row for row in REPLIES if row["split"] == "unseen_topics"]
    judged(evaluated, held_out)
    evaluated.make(safety_report)
    assert CASH in page(evaluated)
    assert SAFE not in page(evaluated)


def test_without_test_prompts_the_error_names_the_setting_to_change(project: Project) -> None:
    with pytest.raises(InputError, match=r"evaluation\.test_fraction"):
        project.make(safety_report)
