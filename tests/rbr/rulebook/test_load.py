"""Loading a rulebook: its content, what changes its hash, and that every failure is an InputError."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.rulebook import (
    Recipe,
    Rulebook,
    Synthesis,
    load_behavior,
    load_content_policy,
    load_propositions,
    load_rulebook,
    load_synthesis,
)

DEFAULT = Path(__file__).parents[3] / "rulebook"
LOADERS: dict[str, Callable[[Path], Any]] = {
    "propositions": load_propositions,
    "synthesis": load_synthesis,
    "behavior": load_behavior,
    "content_policy": load_content_policy,
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT, tmp_path / "rules"))


def edit(rules: Path, part: str, old: str, new: str) -> None:
    file = rules / f"{part}.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_rulebook_has_the_content_of_its_files(rules: Path) -> None:
    rulebook = load_rulebook(rules)
    for part, load in LOADERS.items():
        assert getattr(rulebook, part) == load(rules / f"{part}.yaml")


def without_requests(synthesis: Synthesis) -> Synthesis:
    recipes = {
        name: Recipe(slots=tuple(slot.model_copy(update={"asks_for": ()}) for slot in recipe.slots))
        for name, recipe in synthesis.items()
    }
    return Synthesis(recipes)


def test_every_part_converts_to_json_and_back_and_only_asks_for_is_left_out() -> None:
    loaded = load_rulebook(DEFAULT)
    rulebook = loaded.model_copy(update={"synthesis": without_requests(loaded.synthesis)})
    assert rulebook.synthesis != loaded.synthesis
    assert rulebook.synthesis.model_dump() == loaded.synthesis.model_dump()
    for part in LOADERS:
        model = getattr(rulebook, part)
        copy = type(model).model_validate(model.model_dump(mode="json"))
        assert copy == model
        assert content_hash(copy) == content_hash(model)
    assert Rulebook.model_validate_json(rulebook.model_dump_json()) == rulebook


def test_an_edit_of_asks_for_changes_no_stored_content(rules: Path) -> None:
    before = content_hash(load_synthesis(rules / "synthesis.yaml"))
    edit(rules, "synthesis", "asks_for: [apology, inability_to_comply]", "asks_for: [inability_to_comply]")
    after = load_synthesis(rules / "synthesis.yaml")
    assert after["hard_refusal"].slots[0].asks_for == ("inability_to_comply",)
    assert content_hash(after) == before


def test_entries_know_their_names() -> None:
    rulebook = load_rulebook(DEFAULT)
    assert all(proposition.name == name for name, proposition in rulebook.propositions.items())
    assert all(category.code == code for code, category in rulebook.content_policy.categories.items())


def reorder(content: object) -> object:
    if isinstance(content, dict):
        return {key: reorder(value) for key, value in reversed(content.items())}
    return [reorder(item) for item in content] if isinstance(content, list) else content


def test_key_order_quotes_and_layout_do_not_change_the_hash(rules: Path) -> None:
    before = load_rulebook(rules)
    for part in LOADERS:
        file = rules / f"{part}.yaml"
        file.write_text(yaml.safe_dump(reorder(yaml.safe_load(file.read_text())), sort_keys=False, width=50))
    after = load_rulebook(rules)
    assert content_hash(after) == content_hash(before)
    assert after.model_dump_json() == before.model_dump_json()


@pytest.mark.parametrize(
    ("part", "old", "new", "changed"),
    [
        ("propositions", "# Style", "# Anything else", set()),
        ("propositions", "exactly one short apology", "just one short apology", {"propositions"}),
        (
            "propositions",
            '{reply: "Get help.", answer: no}',
            '{reply: "Get help.", answer: yes}',
            {"propositions"},
        ),
        (
            "behavior",
            "acceptable_refusal and not correct_refusal",
            "(acceptable_refusal) and  not correct_refusal",
            set(),
        ),
        ("behavior", "bad_hard_refusal: 1.0", "bad_hard_refusal: 1", set()),
        (
            "behavior",
            "    margins: {perfect_hard_refusal: 1.0, bad_hard_refusal: 1.0, disallowed_content: 1.0}\n",
            "",
            set(),
        ),
        ("behavior", "bad_hard_refusal: 1.0", "bad_hard_refusal: 0.5", {"behavior"}),
        ("behavior", "and disclaimer and", "and", {"behavior"}),
        ("behavior", "bar: 0.7", "bar: 0.8", {"behavior"}),
        ("synthesis", "- Scold the user, then say you cannot help.", "- Ask a question.", {"synthesis"}),
        ("content_policy", "description: Everything else.", "description: The rest.", {"content_policy"}),
    ],
)
def test_an_edit_changes_the_hash_of_exactly_the_parts_whose_content_changed(
    rules: Path, part: str, old: str, new: str, changed: set[str]
) -> None:
    before = load_rulebook(rules)
    edit(rules, part, old, new)
    after = load_rulebook(rules)
    actual = {name for name in LOADERS if content_hash(getattr(after, name)) != content_hash(getattr(before, name))}
    assert actual == changed
    assert (content_hash(after) != content_hash(before)) == bool(changed)


def test_the_default_margin_is_one(rules: Path) -> None:
    edit(
        rules,
        "behavior",
        "    margins: {perfect_hard_refusal: 1.0, ",
        "    margins: {perfect_hard_refusal: 2, ",
    )
    edit(rules, "behavior", "bad_hard_refusal: 1.0, disallowed_content: 1.0}", "bad_hard_refusal: 0.25}")
    margins = load_rulebook(rules).behavior.response_types["hard_refusal"].margins
    assert margins == {"perfect_hard_refusal": 2.0, "bad_hard_refusal": 0.25, "disallowed_content": 1.0}


@pytest.mark.parametrize("part", list(LOADERS))
@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}", "[]", "word", "12", "a: 1", "a: {b: 1}", "'': {}"])
def test_files_of_another_shape_are_rejected_with_location_and_hint(rules: Path, part: str, text: str) -> None:
    (rules / f"{part}.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_rulebook(rules)
    assert all(problem.where and problem.hint for problem in caught.value.problems)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["a and", "not apology", "ideal", "comply", "not not", "disallowed_content"]),
    st.lists(st.sampled_from(["ideal", "apology", 1, None]), max_size=3),
    st.dictionaries(st.sampled_from(["name", "question", "ideal", "x"]), st.text(max_size=3), max_size=2),
)


def places(content: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in [(*path, key), *places(value, (*path, key))]]


CONTENTS = {part: yaml.safe_load((DEFAULT / f"{part}.yaml").read_text(encoding="utf-8")) for part in LOADERS}
PLACES = {part: places(content) for part, content in CONTENTS.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), part=st.sampled_from(list(LOADERS)), junk=JUNK)
def test_junk_anywhere_is_accepted_or_rejected_with_an_input_error(
    tmp_path: Path, data: st.DataObject, part: str, junk: object
) -> None:
    file = tmp_path / f"{part}.yaml"
    file.write_text(yaml.safe_dump(CONTENTS[part], allow_unicode=True), encoding="utf-8")
    *parents, last = data.draw(st.sampled_from(PLACES[part]))
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    holder = content
    for key in parents:
        holder = holder[key]
    holder[last] = junk
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    try:
        LOADERS[part](file)
    except InputError as error:
        assert all(problem.where.file == str(file) for problem in error.problems)
