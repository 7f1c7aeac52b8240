"""The profiles that ship, and profiles with mistakes."""

from pathlib import Path

import pytest
import yaml

from rbr.errors import InputError
from rbr.profile import Profile, load_profile

ROOT = Path(__file__).resolve().parents[2]

PROFILES = Path(__file__).parents[2] / "profiles"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "sandbox.yaml").write_text((PROFILES / "sandbox.yaml").read_text())
    return tmp_path


def extended(directory: Path, text: str) -> Path:
    path = directory / "mine.yaml"
    path.write_text(f"extends: sandbox\n{text}")
    return path


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_profile_is_complete(path: Path) -> None:
    profile = load_profile(path)
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_a_profile_inherits_the_settings_that_it_does_not_name(directory: Path) -> None:
    base = load_profile(directory / "sandbox.yaml")
    mine = load_profile(extended(directory, "rl:\n  steps: 7\n  learning_rate: 1e-5\n"))
    assert (mine.rl.steps, mine.rl.learning_rate) == (7, 1e-5)
    assert mine.rl.beta == base.rl.beta
    assert mine.model_copy(update={"rl": base.rl}) == base


def test_a_list_replaces_the_inherited_list(directory: Path) -> None:
    assert load_profile(extended(directory, "grader:\n  yes: [yep]\n")).grader.yes == ("yep",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rl:\n  stepz: 3\n", "3:3 rl.stepz: unknown key 'stepz'\n  Did you mean `steps`?"),
        ("grader:\n  few_shots: 3\n", "3:3 grader.few_shots: unknown key 'few_shots'\n  Did you mean `few_shot`?"),
        ("cluster:\n  nodes: 1\n", "2:1 cluster: unknown key 'cluster'\n  Known keys: prompts, gold_labels, models"),
        ("rl:\n  seed: 1\n  steps: many\n", "4:3 rl.steps: expected a whole number, found text: 'many'"),
        ("rl:\n  steps: '3'\n", "3:3 rl.steps: expected a whole number, found text: '3'"),
        ("rl:\n  steps: 1.5\n", "3:3 rl.steps: expected a whole number, found a number: 1.5"),
        ("rl:\n  steps: yes\n", "3:3 rl.steps: expected a whole number, found yes or no"),
        ("rl:\n  steps:\n", "3:3 rl.steps: expected a whole number, found nothing"),
        ("rl:\n  steps: 0\n", "3:3 rl.steps: the number 0 is out of range\n  Write a number that is at least 1."),
        (
            "rl:\n  seed: 2147483648\n",
            "rl.seed: the number 2147483648 is out of range\n"
            "  Write a number that is at least 0 and less than 2147483648.",
        ),
        (
            "synthesis:\n  top_p: 0\n",
            "the number 0 is out of range\n  Write a number that is greater than 0 and at most 1.",
        ),
        ("rl:\n  beta: -0.5\n", "the number -0.5 is out of range\n  Write a number that is at least 0."),
        ("rl: 3\n", "2:1 rl: expected a mapping, found a number: 3"),
        ("fit:\n  l2: .inf\n", "3:3 fit.l2: expected a number, found text: '.inf'"),
        (
            "rl:\n  scale_rewards: batches\n",
            "rl.scale_rewards: expected group, batch or none, found text: 'batches'\n  Did you mean `batch`?",
        ),
        (
            "rl:\n  scale_rewards: x\n",
            "rl.scale_rewards: expected group, batch or none, found text: 'x'\n  Write one of these values.",
        ),
        (
            "grader:\n  batch_size: 3\n  backend: openai\n",
            "4:3 grader.backend: the backend openai needs base_url and model_name\n  Set `base_url` and `model_name`",
        ),
        ("grader:\n  yes: [ok]\n  no: [ok]\n", "4:3 grader.no: 'ok' is in both yes and no"),
        ("grader:\n  yes: []\n", "3:3 grader.yes: the list is empty"),
        ("grader:\n  yes: ['']\n", "3:9 grader.yes[0]: the text is empty"),
        ("grader:\n  yes: ok\n", "3:3 grader.yes: expected a list, found text: 'ok'"),
        (
            "models:\n  policy: {path: x, revision: 12}\n",
            "3:21 models.policy.revision: expected text, found a number: 12",
        ),
        (
            "models:\n  policy: {path: x, revision: null, dtype: half}\n",
            "models.policy.dtype: expected float32, bfloat16 or float16, found text: 'half'",
        ),
        (
            "models:\n  grader: {path: x, revision: null, dtype: bfloat16}\ngrader:\n  backend: vllm\n",
            "3:37 models.grader.dtype: the backend vllm does not open the model in the type bfloat16\n"
            "  Remove `dtype`. vLLM takes grader.vllm.dtype",
        ),
        ("models:\n  oracle: ''\n", "3:3 models.oracle: the text is empty"),
        ("rl:\n  steps: 1\nrl:\n  steps: 2\n", "4:1 rl: duplicate key 'rl'"),
        ("rl: [\n", "3:1 rl[0]: not valid YAML"),
    ],
)
def test_a_wrong_setting_is_reported_with_file_line_and_key(directory: Path, text: str, message: str) -> None:
    path = extended(directory, text)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)
    assert caught.value.problems == (caught.value,)


def test_all_problems_of_a_profile_are_reported_together_in_the_order_of_its_lines(directory: Path) -> None:
    path = extended(
        directory,
        """\
rl:
  stepz: 3
  beta: -1
  beta: -2
grader:
  few_shot: many
  yes: [ok, 3, ok]
  backend: openai
fit: 3
""",
    )
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert [(problem.where.line, problem.where.key) for problem in caught.value.problems] == [
        (3, "rl.stepz"),
        (4, "rl.beta"),
        (5, "rl.beta"),
        (7, "grader.few_shot"),
        (8, "grader.yes[1]"),
        (9, "grader.backend"),
        (10, "fit"),
    ]
    assert all(problem.hint for problem in caught.value.problems)


def test_a_problem_is_reported_at_the_profile_that_sets_the_value(directory: Path) -> None:
    base = directory / "sandbox.yaml"
    base.write_text(base.read_text().replace("scale_rewards: batch", "scale_rewards: always"))
    with pytest.raises(InputError) as caught:
        load_profile(extended(directory, "rl:\n  steps: 0\n"))
    assert [Path(problem.where.file).name for problem in caught.value.problems] == ["mine.yaml", "sandbox.yaml"]


def test_a_problem_of_the_extended_profile_is_located_in_that_file(directory: Path) -> None:
    base = directory / "sandbox.yaml"
    base.write_text(base.read_text().replace("scale_rewards: batch", "scale_rewards: always"))
    with pytest.raises(InputError, match=r"sandbox\.yaml:\d+:3 rl\.scale_rewards"):
        load_profile(extended(directory, "rl:\n  steps: 3\n"))


def test_no_setting_has_a_default_in_code(directory: Path) -> None:
    content = load_profile(directory / "sandbox.yaml").model_dump(mode="json")
    sections = {name: keys for name, keys in content.items() if isinstance(keys, dict)}
    for section, keys in sections.items():
        for key in keys:
            short = content | {section: {name: value for name, value in keys.items() if name != key}}
            path = directory / "short.yaml"
            path.write_text(yaml.safe_dump(short))
            with pytest.raises(InputError, match=rf"{section}\.{key}: the key '{key}' is missing\n  Add"):
                load_profile(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "extends: nowhere\n",
            "the profile 'nowhere' does not exist in this directory\n  Profiles in this directory: mine, sandbox.",
        ),
        ("extends: ../sandbox\n", "is not the name of a profile"),
        ("extends: mine\n", "'mine' extends itself"),
        ("- 1\n", "expected a mapping"),
        ("", "the file is empty"),
    ],
)
def test_a_broken_chain_of_profiles_is_an_input_error(directory: Path, text: str, message: str) -> None:
    path = directory / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert message in str(caught.value)


def test_a_profile_outside_the_directory_of_its_base_is_told_where_to_go(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = directory / "mine.yaml"
    path.write_text("extends: gpu\n")
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert str(caught.value).endswith(f"\n  Put mine.yaml into {ROOT / 'profiles'}, beside gpu.yaml.")


def test_the_file_name_of_a_profile_gets_its_name_as_a_hint(directory: Path) -> None:
    path = directory / "mine.yaml"
    path.write_text("extends: sandbox.yaml\n")
    with pytest.raises(InputError, match=r"'sandbox\.yaml' does not exist in this directory\n  Did you mean `sandbox`"):
        load_profile(path)


def test_a_broken_chain_of_profiles_does_not_hide_duplicate_keys(directory: Path) -> None:
    path = directory / "mine.yaml"
    path.write_text("fit: {}\nextends: nowhere\nfit: {}\n")
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert [(problem.where.line, problem.where.key) for problem in caught.value.problems] == [
        (2, "extends"),
        (3, "fit"),
    ]


def test_a_long_name_of_an_extended_profile_is_an_input_error(directory: Path) -> None:
    path = directory / "mine.yaml"
    path.write_text(f"extends: {'x' * 5000}\n")
    with pytest.raises(InputError, match="does not exist in this directory") as caught:
        load_profile(path)
    assert len(str(caught.value)) < 500


def test_a_missing_profile_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the file does not exist"):
        load_profile(tmp_path / "absent.yaml")
