"""Profiles as they ship and as users get them wrong."""

from pathlib import Path

import pytest
import yaml

from rbr.errors import InputError
from rbr.profile import Profile, load_profile

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


def test_a_profile_takes_what_it_does_not_name_from_the_one_it_extends(directory: Path) -> None:
    base = load_profile(directory / "sandbox.yaml")
    mine = load_profile(extended(directory, "rl:\n  steps: 7\n  learning_rate: 1e-5\n"))
    assert (mine.rl.steps, mine.rl.learning_rate) == (7, 1e-5)
    assert mine.rl.beta == base.rl.beta
    assert mine.model_copy(update={"rl": base.rl}) == base


def test_a_list_replaces_the_list_below_it(directory: Path) -> None:
    assert load_profile(extended(directory, "grader:\n  yes: [yep]\n")).grader.yes == ("yep",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rl:\n  stepz: 3\n", "3:3 rl.stepz: is no setting\n  Did you mean steps?"),
        ("rl:\n  seed: 1\n  steps: many\n", "4:3 rl.steps: Input should be a valid integer"),
        ("rl:\n  steps: '3'\n", "3:3 rl.steps: Input should be a valid integer, found '3'"),
        ("rl:\n  steps: 0\n", "3:3 rl.steps: Input should be greater than or equal to 1"),
        ("rl: 3\n", "2:1 rl: Input should be an object, found 3"),
        ("fit:\n  l2: .inf\n", "3:3 fit.l2: "),
        ("grader:\n  backend: openai\n", "2:1 grader: backend openai needs base_url and model_name"),
        ("grader:\n  yes: [ok]\n  no: [ok]\n", "2:1 grader: 'ok' stands in both yes and no"),
        (
            "models:\n  policy: {path: x, revision: 12}\n",
            "models.policy.revision: Input should be a valid string",
        ),
        ("cluster:\n  nodes: 1\n", "2:1 cluster: is no setting\n  Known here: prompts, gold_labels, models"),
        ("rl:\n  steps: 1\nrl:\n  steps: 2\n", "4:1 rl: the key 'rl' is there twice"),
        ("rl: [\n", "3:1 rl[0]: not valid YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_file_line_and_key(directory: Path, text: str, said: str) -> None:
    path = extended(directory, text)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}:")
    assert said in str(caught.value)


def test_a_fault_of_the_extended_profile_is_placed_in_that_file(directory: Path) -> None:
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
            with pytest.raises(InputError, match=rf"{section}\.{key}: is missing"):
                load_profile(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "extends: nowhere\n",
            "there is no profile 'nowhere' beside this one\n  Profiles here: mine, sandbox.",
        ),
        ("extends: ../sandbox\n", "is no name of a profile"),
        ("extends: mine\n", "leads back to itself"),
        ("- 1\n", "holds no mapping"),
        ("", "holds no mapping"),
    ],
)
def test_a_broken_chain_of_profiles_is_an_input_error(directory: Path, text: str, said: str) -> None:
    path = directory / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert said in str(caught.value)


def test_a_missing_profile_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_profile(tmp_path / "absent.yaml")
