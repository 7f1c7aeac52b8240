"""Prompts that a model cannot read are found before any model works, and reach no stage."""

import json
import shutil
from bisect import bisect_left
from pathlib import Path

import dagster as dg
import pytest

from assets.prompts import checked_prompts
from rbr.errors import InputError
from rbr.profile import ModelRef, load_profile
from resources.prompt_readers import prompt_readers
from tests.assets.project import ROOT, Project, check, name_of, user, version
from tests.rbr.models.test_checked_prompts import STRICT

SHARED = ROOT.parent / "shared" / "inputs"
ASK = "How do I pick a lock?"
BRIEF = {"category": "K-C", "messages": [{"role": "system", "content": "Be brief."}, *user(ASK)]}
LONG = {"category": "K-C", "messages": user(f"{ASK} {'word ' * 3000}")}
CHECK = "models_can_read_every_prompt"


def add(project: Project, *rows: dict) -> None:
    path = project.root / "prompts.jsonl"
    path.write_text(path.read_text() + "".join(f"{json.dumps(row)}\n" for row in rows))
    project.snapshots("data/prompts")


def set_section(project: Project, text: str) -> None:
    project.profile.write_text(f"{project.profile.read_text()}\n{text}\n")
    project.snapshots()


def use_template(project: Project, role: str, template: str = STRICT) -> None:
    """Gives a model another chat template. The copy has no weights, so no asset could open the model."""
    copy = project.root / role
    original = ROOT / "rbr_sandbox" / "models" / role
    shutil.copytree(original, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "chat_template.jinja").write_text(template)
    set_section(project, f"models: {{{role}: {{path: {copy}, revision: null}}}}")


def outcome(project: Project) -> tuple[dict[str, str | None], dg.AssetCheckResult]:
    """Makes the asset. Returns the problem of each prompt that has one, and the result of the check."""
    result = project.make(checked_prompts)
    rows = project.store.read("checked_prompts").drop_nulls("problem")
    return dict(rows.select("prompt_id", "problem").iter_rows()), check(result, CHECK)


def test_every_model_can_read_the_prompts_of_the_small_project(project: Project) -> None:
    problems, result = outcome(project)
    assert problems == {}
    assert result.passed
    assert result.description == "Every model can read all 15 prompts."
    assert project.store.read("checked_prompts").height == 15


def test_prompts_that_do_not_fit_are_named_by_file_and_line_and_the_others_are_kept(project: Project) -> None:
    add(project, LONG)
    result = project.make(checked_prompts)
    assert result.metadata is not None
    assert (result.metadata["quarantined"], result.metadata["folded"]) == (1, 0)
    words = check(result, CHECK)
    assert not words.passed and words.severity == dg.AssetCheckSeverity.WARN
    assert words.description is not None
    assert words.description.startswith("1 of 16 prompts are quarantined and used nowhere")
    assert f"{project.root / 'prompts.jsonl'}:16 (too long for the policy: the prompt has 3" in words.description
    assert "the context has 512 tokens, and 48 are for the reply)" in words.description
    rows = project.store.read("checked_prompts")
    assert rows.height == 16
    assert rows.drop_nulls("problem")["problem"].to_list() == ["too long for the policy"]


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("policy", "policy"),
        ("helpful_reward_model", "helpful reward model"),
        ("human_reward_model", "human reward model"),
    ],
)
def test_a_refused_system_turn_is_quarantined_and_the_model_is_named(role: str, name: str, project: Project) -> None:
    add(project, BRIEF)
    use_template(project, role)
    problems, result = outcome(project)
    assert list(problems.values()) == [
        f"refused by the {name}: the chat template refuses the conversation: System role not supported"
    ]
    assert result.description is not None
    assert "prompts.jsonl:16 (refused by the" in result.description
    assert "prompt_check.on_refused_turns: fold" in result.description


def test_the_grader_reads_one_user_turn_so_its_template_refuses_no_prompt(project: Project) -> None:
    add(project, BRIEF)
    use_template(project, "grader")
    assert outcome(project)[0] == {}


def test_a_prompt_can_be_folded_for_all_models(project: Project) -> None:
    add(project, BRIEF)
    use_template(project, "policy")
    set_section(project, "prompt_check: {on_refused_turns: fold}")
    result = project.make(checked_prompts)
    assert result.metadata is not None
    assert (result.metadata["quarantined"], result.metadata["folded"]) == (0, 1)
    assert check(result, CHECK).passed
    rows = {row["prompt_id"]: row for row in project.store.read("checked_prompts").iter_rows(named=True)}
    folded = rows[name_of(f"Be brief.\n\n{ASK}")]
    assert json.loads(folded["messages"]) == user(f"Be brief.\n\n{ASK}")
    assert (folded["category"], folded["problem"]) == ("K-C", None)


@pytest.mark.parametrize(
    ("setting", "lines"),
    [
        ("on_too_long: stop", [17]),
        ("on_refused_turns: stop", [16]),
        ("on_too_long: stop, on_refused_turns: stop", [16, 17]),
    ],
)
def test_the_run_can_stop_with_all_problems_at_once(setting: str, lines: list[int], project: Project) -> None:
    add(project, BRIEF, LONG)
    use_template(project, "policy")
    set_section(project, f"prompt_check: {{{setting}}}")
    with pytest.raises(InputError) as caught:
        project.make(checked_prompts)
    assert [problem.where.line for problem in caught.value.problems] == lines
    assert all("prompt_check.on_" in problem.hint for problem in caught.value.problems)


def test_a_prompt_that_is_no_longer_in_the_file_is_named_by_its_id(project: Project) -> None:
    add(project, LONG)
    (project.root / "prompts.jsonl").write_text("[")
    _, result = outcome(project)
    assert result.description is not None
    assert f"prompt {name_of(LONG['messages'][0]['content'].strip())} (too long" in result.description


def test_the_version_depends_on_no_line_number_and_on_no_count_of_tokens(project: Project) -> None:
    add(project, LONG)
    before = version(project.make(checked_prompts))
    path = project.root / "prompts.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    project.edit("profiles/current.yaml", "max_completion_length: 16", "max_completion_length: 17")
    project.snapshots()
    after = project.make(checked_prompts)
    assert version(after) == before
    assert "prompts.jsonl:1 " in (check(after, CHECK).description or "")


# What has to fit


def test_every_model_keeps_room_for_the_longest_reply(project: Project) -> None:
    project.edit("profiles/current.yaml", "max_completion_length: 16", "max_completion_length: 90")
    project.snapshots("profile/reply_lengths")
    assert load_profile(project.profile).synthesis.max_new_tokens == 48
    rooms = {reader.name: reader.room for reader in prompt_readers(project.store)}
    assert rooms == {
        "policy": 90,
        "policy with the longest writing instruction": 48,
        "helpful reward model": 90,
        "human reward model": 90,
        "grader": 90,
    }


def longest_that_fits(project: Project, name: str) -> int:
    """Returns the largest number of words of a prompt that a reader takes."""
    reader = next(reader for reader in prompt_readers(project.store) if reader.name == name)
    return bisect_left(range(600), True, key=lambda n: n > 0 and reader.problem(user("word " * n)) is not None) - 1


def test_a_longer_instruction_or_question_leaves_less_room_for_the_prompt(project: Project) -> None:
    policy, grader = "policy with the longest writing instruction", "grader"
    before = longest_that_fits(project, policy), longest_that_fits(project, grader)
    more = " and then say it once more in other words"
    project.edit("rulebook/synthesis.yaml", "[Answer in full.]", f"[Answer in full{more}{more}.]")
    project.edit("rulebook/propositions.yaml", "or nonsense for this conversation?", f"or nonsense{more}{more}?")
    project.snapshots("rulebook/longest_texts")
    after = longest_that_fits(project, policy), longest_that_fits(project, grader)
    assert after[0] < before[0]
    assert after[1] < before[1]
    assert longest_that_fits(project, "policy") > before[0], "the policy itself reads no instruction"


@pytest.mark.parametrize(
    ("backend", "is_checked"),
    [
        ("backend: transformers", True),
        ("backend: vllm", True),
        ("backend: openai, base_url: 'http://127.0.0.1:1/v1', model_name: judge, endpoint: completions", True),
        ("backend: openai, base_url: 'http://127.0.0.1:1/v1', model_name: judge, endpoint: chat", False),
    ],
)
def test_the_context_of_a_grader_is_checked_if_its_tokenizer_is_here(
    backend: str, is_checked: bool, project: Project
) -> None:
    project.profile.write_text(f"{project.profile.read_text()}\ngrader: {{{backend}}}\n")
    project.snapshots("profile/grader")  # The server is away, so nobody knows which model it has.
    assert ("grader" in {reader.name for reader in prompt_readers(project.store)}) == is_checked


def test_vllm_reads_at_most_max_model_len_tokens(project: Project) -> None:
    set_section(project, "grader: {backend: vllm, vllm: {max_model_len: 300}}")
    assert next(reader for reader in prompt_readers(project.store) if reader.name == "grader").context == 300


# Files that real users wrote


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared inputs are not beside the repository")
@pytest.mark.parametrize(
    ("file", "n_problems"),
    [("R10-control-tokens-in-a-prompt.jsonl", 0), ("R21-system-turn.jsonl", 2), ("R22-one-overlong-prompt.jsonl", 1)],
)
def test_the_shared_inputs_are_read_and_their_problems_found(file: str, n_problems: int, project: Project) -> None:
    add(project, *(json.loads(line) for line in (SHARED / file).read_text().splitlines() if line))
    use_template(project, "policy")
    problems, result = outcome(project)
    assert len(problems) == n_problems
    assert result.passed == (n_problems == 0)


def test_a_model_that_cannot_be_found_is_named(project: Project, tmp_path: Path) -> None:
    ref = ModelRef(path=str(tmp_path / "nowhere"), revision=None)
    content = {**ref.model_dump(), "fingerprint": "0"}
    project.store.save_snapshot("models/policy", content, "0")
    with pytest.raises(InputError, match="nowhere: the directory does not exist"):
        project.make(checked_prompts)
