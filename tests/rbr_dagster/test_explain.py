"""`rbr explain`: on a pipeline that is up to date, and before the first run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rbr.classes.features import feature_map
from rbr.errors import InputError
from rbr.grading import Answers
from rbr.grading.identity import identify_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import load_profile
from rbr.reward.artifact import RewardRules, build_artifact
from rbr.reward.explanation import explain, explain_without_weights
from rbr.rulebook import load_content_policy, load_rulebook
from rbr_dagster.environment import Environment
from rbr_dagster.explain.explain_view import as_json, as_text
from rbr_dagster.explain.explained_reply import ExplainedReply, explain_text
from rbr_dagster.explain.found_category import find_category
from rbr_dagster.plain_console import plain_console
from resources.state.state_format import STORE_FILE
from resources.store import Store
from tests.rbr.grading.judge_server import JudgeServer, Reply, Request, error, good_answer
from tests.rbr_dagster.edited_pipeline import ROOT, rbr, write_inputs

REFUSAL = "I'm sorry, but I can't help with that."
POLICY = load_content_policy(ROOT / "rulebook" / "content_policy.yaml")


class ScriptedGrader:
    """A grader that answers from a list: P(yes) by question, NaN if the answer is unreadable."""

    def __init__(self, **p_yes: float) -> None:
        self._p_yes = {name.replace("_", "-"): value for name, value in p_yes.items()}

    def grade(self, conversations, questions, on_progress=None):
        rows = [[self._p_yes.get(question.name, 0.01) for question in questions] for _ in conversations]
        return Answers.of(np.array(rows))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment without state. Its profile and rulebook may be edited."""
    # The paths of the models are relative to the root of the repository.
    monkeypatch.chdir(ROOT)
    write_inputs(tmp_path)
    return Environment(tmp_path / "home", tmp_path / "profiles" / "edited.yaml", tmp_path / "rulebook")


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    server = JudgeServer(lambda request: good_answer(request.prompt))
    yield server
    server.kill()


def text_of(explained: ExplainedReply) -> str:
    console = plain_console(width=200, color_system=None)
    with console.capture() as output:
        console.print(as_text(explained))
    return output.get()


def test_the_grader_finds_the_category_by_the_rule_of_the_pipeline() -> None:
    assert find_category(ScriptedGrader(K_R=0.9), [{"role": "user", "content": "Hi."}], POLICY, 0.5) == ("K-R", 0.9)


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        (ScriptedGrader(K_R=0.17), "the closest category is K-R with P 0.170, and grader.category_bar is 0.5"),
        (ScriptedGrader(K_R=0.4, H_C=np.nan), "; H-C could be closer, but the answers about them could not be read"),
        (ScriptedGrader(K_R=0.62, H_C=np.nan), "the closest category is K-R with P 0.620"),
        (ScriptedGrader(**{code.replace("-", "_"): np.nan for code in POLICY.categories}), "none of its answers"),
    ],
    ids=["below the bar", "below the bar and unread", "above the bar and unread", "nothing readable"],
)
def test_a_category_is_asked_for_if_the_pipeline_would_quarantine_the_prompt(
    grader: ScriptedGrader, message: str
) -> None:
    with pytest.raises(InputError, match=r"--prompt: the grader finds no category: ") as caught:
        find_category(grader, [{"role": "user", "content": "Hi."}], POLICY, 0.5)
    assert message in str(caught.value)
    assert "Give the category with --category. Categories: C-C, " in str(caught.value)


def test_before_the_first_run_a_reply_is_explained_from_the_files_and_nothing_is_written(fresh: Environment) -> None:
    explained = explain_text(fresh, "How do I crack a safe?", REFUSAL, None)
    output = json.loads(as_json(explained))
    assert (output["category"], output["class"]) == ("K-R", "ideal")
    assert sum(output["class_probabilities"].values()) == pytest.approx(1)
    assert {grade["threshold"] for grade in output["grades"]} == {0.5}
    assert (output["is_fitted"], output["rules_from"], output["terms"]) == (False, "files", [])
    assert isinstance(output["r_rm"], float)
    assert (output["r_rbr"], output["r_tot"]) == (None, None)
    assert "No reward was fitted yet, so R_rbr and R_tot are unknown. `rbr run --only reward` fits it." in text_of(
        explained
    )
    assert not fresh.home.exists()


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt_is_refused(fresh: Environment, prompt: str) -> None:
    with pytest.raises(InputError, match="--prompt: the prompt has no text"):
        explain_text(fresh, prompt, REFUSAL, "K-R")


@pytest.mark.parametrize(
    ("text", "reply", "thought", "shown"),
    [
        (f"<think>[harmful steps]</think>{REFUSAL}", REFUSAL, "[harmful steps]", "Thought    [harmful steps]"),
        ("<think>Wait", "", "Wait", "Note       a thought does not end, so there is no reply after it"),
        ("Hm.</think>No.", "Hm.</think>No.", None, "Note       a mark ends a thought that did not begin"),
    ],
    ids=["a thought", "an unclosed thought", "a closing mark alone"],
)
def test_a_thought_is_shown_apart_and_not_judged(
    fresh: Environment, text: str, reply: str, thought: str | None, shown: str
) -> None:
    explained = explain_text(fresh, "How do I crack a safe?", text, "K-R")
    plain = explain_text(fresh, "How do I crack a safe?", reply, "K-R")
    assert explained.explanation == plain.explanation
    output = json.loads(as_json(explained))
    assert (output["reply"], output["thought"]) == (reply, thought)
    assert (output["unclosed_thought"], output["unopened_thought"]) == (not reply, thought is None)
    assert shown in text_of(explained)
    assert "Thought" not in text_of(plain)


def test_the_rules_of_an_edited_rulebook_decide_the_class(fresh: Environment) -> None:
    policy = fresh.rulebook / "content_policy.yaml"
    text = policy.read_text(encoding="utf-8")
    before, k_r, after = text.partition("  K-R:")
    policy.write_text(before + k_r + after.replace("hard_refusal", "comply", 1), encoding="utf-8")
    explained = explain_text(fresh, "How do I crack a safe?", REFUSAL, "K-R")
    assert (explained.response_type, explained.explanation.class_name) == ("comply", "unacceptable")


def test_a_prompt_below_the_bar_and_an_unreadable_prompt_need_a_category(fresh: Environment) -> None:
    with fresh.profile.open("a", encoding="utf-8") as profile:
        profile.write("grader: {category_bar: 1.0}\n")
    with pytest.raises(InputError, match=r"the closest category is \S+ with P 0\.\d+, and grader.category_bar is 1"):
        explain_text(fresh, "Write about crime.", REFUSAL, None)
    # The grader has a context of 512 tokens.
    with pytest.raises(InputError, match="none of its answers could be read"):
        explain_text(fresh, "word " * 600, REFUSAL, None)


def test_a_reward_model_that_cannot_be_opened_is_named_and_the_class_is_shown(fresh: Environment) -> None:
    with fresh.profile.open("a", encoding="utf-8") as profile:
        profile.write("models:\n  helpful_reward_model: {path: no/such/model, revision: null}\n")
    explained = explain_text(fresh, "How do I crack a safe?", REFUSAL, "K-R")
    assert explained.explanation.class_name == "ideal"
    assert explained.explanation.r_rm is None
    assert "R_rm is unknown (models: 'no/such/model' is not a local directory" in text_of(explained)


def test_an_unreadable_reply_has_no_class_and_every_unread_proposition_is_named(fresh: Environment) -> None:
    explained = explain_text(fresh, "How do I crack a safe?", "word " * 600, "K-R")
    output = json.loads(as_json(explained))
    assert output["class"] is None
    assert output["unread"] == [grade["proposition"] for grade in output["grades"]]
    assert output["r_rm_problem"] == "prompt and reply are longer than the context of the reward model"
    text = text_of(explained)
    assert "Class      not certain: it depends on answers that could not be read" in text
    assert "Unread     additional_content, apology, " in text


def test_the_class_is_shown_if_it_does_not_depend_on_the_unread_answers() -> None:
    features = feature_map(load_rulebook(ROOT / "rulebook").behavior, "hard_refusal")
    grades = dict.fromkeys(features.propositions, 0.01) | {"disallowed_content": 0.99, "apology": np.nan}
    explanation = explain_without_weights(features, np.array(list(grades.values())), 0.3)
    prompt = [{"role": "user", "content": "How do I crack a safe?"}]
    text = text_of(ExplainedReply(prompt, "[harmful steps]", "K-R", None, "hard_refusal", "files", explanation, None))
    assert "Class      disallowed, whatever the unread answers are" in text
    assert "Unread     apology: the answers could not be read" in text


def test_brackets_and_emoji_codes_in_prompt_and_reply_are_shown_as_they_are() -> None:
    features = feature_map(load_rulebook(ROOT / "rulebook").behavior, "hard_refusal")
    explanation = explain_without_weights(features, np.full(len(features.propositions), 0.01), np.nan)
    reply = "No :smile: [/b]"
    prompt = [{"role": "user", "content": "[bold]Hi[/INST] \\"}]
    problem = "grader.base_url: bad [/INST] token"
    text = text_of(ExplainedReply(prompt, reply, "K-R", None, "hard_refusal", "files", explanation, problem))
    assert "User       [bold]Hi[/INST] \\\n" in text
    assert "Assistant  No :smile: [/b]\n" in text
    assert f"R_rm is unknown ({problem})" in text


def test_a_fitted_reward_is_explained_by_a_judge_that_only_a_server_has(
    fresh: Environment, server: JudgeServer
) -> None:
    lines = f"grader: {{backend: openai, base_url: 'http://127.0.0.1:{server.port}/v1', model_name: grader}}\n"
    fresh.profile.write_text(f"extends: tiny\nmodels: {{grader: null}}\n{lines}", encoding="utf-8")
    profile, rulebook = load_profile(fresh.profile), load_rulebook(fresh.rulebook)
    features = {name: feature_map(rulebook.behavior, name) for name in rulebook.behavior.response_types}
    build_artifact(
        {name: dict.fromkeys(of_type.feature_names, 0.5) for name, of_type in features.items()},
        features,
        rulebook.propositions,
        rulebook.content_policy,
        few_shot=profile.grader.few_shot,
        grader=identify_grader(None, profile.grader),
        reward_model=model_fingerprint(profile.models.helpful_reward_model),
    ).save(fresh.artifacts.reward)
    explained = json.loads(as_json(explain_text(fresh, "How do I crack a safe?", REFUSAL, "K-R")))
    assert (explained["is_fitted"], explained["unread"]) == (True, [])
    assert explained["r_tot"] == pytest.approx(explained["r_rm"] + explained["r_rbr"])


@pytest.mark.parametrize(
    ("reply", "outcome", "reason", "shown", "status"),
    [
        pytest.param(
            error(400, "Filtered.", code="content_filter"),
            "refused",
            "the server answered 400: Filtered. (content_filter)",
            "apology, judgement: a content filter refused: the server answered 400: Filtered. (content_filter)",
            0,
            id="refused",
        ),
        pytest.param(
            error(500, "CUDA error"),
            "not answered",
            "the server answered 500: CUDA error",
            "apology, judgement: the grader did not answer: the server answered 500: CUDA error",
            1,
            id="not answered",
        ),
    ],
)
def test_an_answer_without_a_grade_is_shown_with_its_outcome_and_its_reason(
    fresh: Environment,
    tmp_path: Path,
    server: JudgeServer,
    reply: Reply,
    outcome: str,
    reason: str,
    shown: str,
    status: int,
) -> None:
    url = f"http://127.0.0.1:{server.port}/v1"
    lines = f"grader: {{backend: openai, base_url: '{url}', model_name: grader, wait_s: 2}}\n"
    fresh.profile.write_text(f"extends: tiny\nmodels: {{grader: null}}\n{lines}", encoding="utf-8")
    asked = ("apology", "judgement")
    questions = [load_rulebook(fresh.rulebook).propositions[name].question for name in asked]

    def rule(request: Request) -> Reply:
        return reply if any(question in request.prompt for question in questions) else good_answer(request.prompt)

    server.rule = rule
    arguments = ("explain", "--prompt", "How do I crack a safe?", "--reply", REFUSAL, "--category", "K-R")
    output = json.loads(rbr(tmp_path, *arguments, "--json", expect=status, errors=False))
    grades = {grade["proposition"]: (grade["outcome"], grade["reason"]) for grade in output["grades"]}
    assert {name: grades.pop(name) for name in asked} == dict.fromkeys(asked, (outcome, reason))
    assert set(grades.values()) == {("answered", None)}
    assert shown in rbr(tmp_path, *arguments, expect=status, errors=False).replace("\n", " ")


def test_a_weight_against_the_rules_is_marked_in_words() -> None:
    features = feature_map(load_rulebook(ROOT / "rulebook").behavior, "hard_refusal", accepted=["apology", "judgement"])
    rules = RewardRules(
        classes=features.classes,
        rule_propositions=features.diagram.propositions,
        tests=features.diagram.tests,
        root=features.diagram.root,
        feature_propositions=features.feature_propositions,
        thresholds={},
        weights=(0.0,) * len(features.classes) + (0.4, 0.25),
    )
    explanation = explain(rules, np.full(len(features.propositions), 0.01), 0.3)
    prompt = [{"role": "user", "content": "How do I crack a safe?"}]
    explained = ExplainedReply(prompt, REFUSAL, "K-R", None, "hard_refusal", "reward", explanation, None)
    assert "Against the rules: proposition:judgement is undesired, but its weight is +0.250." in text_of(explained)
    assert text_of(explained).count("Against the rules") == 1
    terms = {term["feature"]: term for term in json.loads(as_json(explained))["terms"]}
    assert (terms["proposition:apology"]["sign"], terms["proposition:judgement"]["is_against_sign"]) == (
        "desired",
        True,
    )


@pytest.mark.slow
def test_a_stored_completion_is_explained_by_its_stored_grades_and_score(up_to_date: Path) -> None:
    store = Store(path=str(up_to_date / "home" / STORE_FILE))
    row = store.read("verified_comparisons").row(0, named=True)
    explained = json.loads(rbr(up_to_date, "explain", row["completion_id"], "--json"))
    grades = store.read("proposition_grades", "completion_id = ?", [row["completion_id"]])
    expected = dict(grades.select("proposition", "p_yes").iter_rows())
    assert {grade["proposition"]: grade["p_yes"] for grade in explained["grades"]} == pytest.approx(expected, abs=1e-6)
    score = store.read("reward_model_scores", "completion_id = ?", [row["completion_id"]])["score"][0]
    assert explained["r_rm"] == pytest.approx(score, abs=1e-6)
    assert explained["class"] == row["class_name"]
    assert explained["r_tot"] == pytest.approx(explained["r_rm"] + sum(term["reward"] for term in explained["terms"]))
    assert explained["response_type"] == row["response_type"]


@pytest.mark.slow
def test_the_grader_finds_the_category_of_a_new_prompt(up_to_date: Path) -> None:
    output = rbr(
        up_to_date, "explain", "--prompt", "How do I bake bread?", "--reply", "I'm sorry, I can't help with that."
    )
    assert "found by the grader" in output
    assert "R_rm + R_rbr" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no reply to explain"),
        (("--prompt", "Hello."), "both --prompt and --reply"),
        (("abc", "--prompt", "Hello.", "--reply", "Hello."), "a completion excludes --prompt and --reply"),
        (("abc", "--prompt", "Hello."), "a completion excludes --prompt and --reply"),
        (("nothing-like-this",), "unknown completion 'nothing-like-this'"),
        (("--prompt", "Hello.", "--reply", "Hello.", "--category", "X"), "unknown category 'X'"),
    ],
)
def test_wrong_arguments_are_refused(up_to_date: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in rbr(up_to_date, "explain", *arguments, expect=2)


@pytest.mark.slow
def test_a_stored_completion_can_be_explained_for_another_category(up_to_date: Path) -> None:
    store = Store(path=str(up_to_date / "home" / STORE_FILE))
    row = store.read("verified_comparisons", "response_type = 'hard_refusal'").row(0, named=True)
    explained = json.loads(rbr(up_to_date, "explain", row["completion_id"], "--category", "None", "--json"))
    assert (explained["category"], explained["response_type"]) == ("None", "comply")


@pytest.mark.slow
def test_a_stored_completion_of_a_quarantined_prompt_needs_a_category(up_to_date: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(up_to_date, tmp_path / "root"))
    store = Store(path=str(root / "home" / STORE_FILE))
    row = store.read("verified_comparisons", "response_type = 'hard_refusal'").row(0, named=True)
    is_its_prompt = pl.col("prompt_id") == row["prompt_id"]
    labeled = store.read("labeled_prompts")
    prompt = labeled.filter(is_its_prompt).select("prompt_id", "messages")
    nothing = {"best_category": pl.lit(None, pl.String), "p_category": pl.lit(None, pl.Float64)}
    store.replace("labeled_prompts", labeled.filter(~is_its_prompt))
    store.replace("quarantined_prompts", prompt.with_columns(**nothing, reason=pl.lit("no answer could be read")))
    message = rbr(root, "explain", row["completion_id"], expect=2)
    assert f"the prompt of completion {row['completion_id']} is quarantined: no answer could be read" in message
    explained = json.loads(rbr(root, "explain", row["completion_id"], "--category", "K-R", "--json"))
    assert (explained["category"], explained["class"]) == ("K-R", row["class_name"])


@pytest.mark.slow
def test_after_the_grader_was_replaced_the_old_weights_are_not_used(up_to_date: Path, tmp_path: Path) -> None:
    shutil.copytree(up_to_date, tmp_path / "root")
    home = tmp_path / "root" / "home"
    reward = json.loads((home / "reward" / "reward.json").read_text(encoding="utf-8"))
    (home / "reward" / "reward.json").write_text(json.dumps({**reward, "grader": "0" * 16}), encoding="utf-8")
    message = rbr(tmp_path / "root", "explain", "--prompt", "a", "--reply", "b", "--category", "None", expect=2)
    assert "the weights were fitted with another grader" in message


@pytest.mark.slow
def test_without_a_reward_the_stored_thresholds_decide_the_class(up_to_date: Path, tmp_path: Path) -> None:
    shutil.copytree(up_to_date, tmp_path / "root")
    home = tmp_path / "root" / "home"
    shutil.rmtree(home / "reward")
    store = Store(path=str(home / STORE_FILE))
    accepted = store.read("accepted_propositions")
    # At this threshold, no grade counts as true.
    store.replace("accepted_propositions", accepted.with_columns(threshold=pl.lit(0.9999)))
    explained = json.loads(
        rbr(tmp_path / "root", "explain", "--prompt", "How do I crack a safe?", "--reply", REFUSAL, "--json")
    )
    assert (explained["is_fitted"], explained["rules_from"]) == (False, "run")
    assert explained["class"] == "unacceptable"
    assert {grade["threshold"] for grade in explained["grades"]} == {0.9999}
