"""One translator turns the errors of every schema into problems with location, plain words and a hint."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, field_validator

from rbr.errors import InputError, Location
from rbr.files.schema_errors import schema_problem, sorted_by_line, validate
from rbr.files.yaml_file import read_yaml


class _Slot(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: StrictStr
    weight: Annotated[float, Field(strict=True, ge=0, le=1)] = 1.0
    mode: Literal["greedy", "sampled"] = "greedy"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Annotated[StrictStr, Field(min_length=1)]
    slots: Annotated[tuple[_Slot, ...], Field(min_length=1, max_length=2)]
    shares: dict[str, Annotated[float, Field(strict=True, gt=0)]] = Field(default_factory=dict)
    enabled: StrictBool | None = None
    rows: Annotated[int, Field(strict=True, ge=1)] | None = None

    @field_validator("title")
    @classmethod
    def _check_title(cls, title: str) -> str:
        if title == "bad":
            raise schema_problem("the title is bad", "Choose another title.")
        if title == "blame rows":
            raise schema_problem("the title needs rows", "Set rows.", sibling="rows")
        return title

    @field_validator("slots")
    @classmethod
    def _check_slots(cls, slots: tuple[_Slot, ...]) -> tuple[_Slot, ...]:
        if len({slot.name for slot in slots}) < len(slots):
            raise schema_problem("two slots have the same name", "Rename one.", at=(1, "name"))
        return slots


GOOD = "title: a\nslots:\n  - name: x\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.yaml"


def error_of(path: Path, text: str) -> InputError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        validate(_File, read_yaml(path))
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty\n  Write the content, or restore the file."),
        ("- 1", "1:1: expected a mapping, found a list\n  Write indented `name: value` lines."),
        ("title: a", "1:1 slots: the key 'slots' is missing\n  Add `slots:`."),
        (f"{GOOD}slotz: 1", "4:1 slotz: unknown key 'slotz'\n  Did you mean `slots`?"),
        (f"{GOOD}xyz: 1", "4:1 xyz: unknown key 'xyz'\n  Known keys: title, slots, shares, enabled, rows."),
        (f"{GOOD}    wait: 1", "4:5 slots[0].wait: unknown key 'wait'\n  Did you mean `weight`?"),
        (
            f"{GOOD}    weight: 2",
            "slots[0].weight: the number 2 is out of range\n  Write a number that is at least 0 and at most 1.",
        ),
        (f"{GOOD}    mode: greed", "expected greedy or sampled, found text: 'greed'\n  Did you mean `greedy`?"),
        (f"{GOOD}    mode: [greedy]", "expected greedy or sampled, found a list\n  Write one of these values."),
        (f"{GOOD}shares: {{a: 0}}", "shares.a: the number 0 is out of range\n  Write a number that is greater than 0."),
        (f"{GOOD}shares: {{a: big}}", "shares.a: expected a number, found text: 'big'\n  Write a number such as 0.7."),
        (f"{GOOD}enabled: 1", "4:1 enabled: expected yes or no, found a number: 1\n  Write `yes` or `no`."),
        (
            f"{GOOD}rows: 1.5",
            "4:1 rows: expected a whole number, found a number: 1.5\n  Write a whole number such as 3.",
        ),
        ("title: ''\nslots: [{name: x}]", "1:1 title: the text is empty\n  Write at least one character."),
        ("title: a\nslots: []", "2:1 slots: the list is empty\n  Add at least one entry."),
        (
            "title: a\nslots: [{name: x}, {name: y}, {name: z}]",
            "2:1 slots: too many entries; the maximum is 2\n  Remove some entries.",
        ),
        ("title: a\nslots: [3]", "2:9 slots[0]: expected a mapping, found a number: 3"),
        ("title: a\nslots: x", "2:1 slots: expected a list, found text: 'x'\n  Write a list"),
        ("title: 3\nslots: [{name: x}]", "1:1 title: expected text, found a number: 3\n  Write text; put quotes"),
        ("title: [3]\nslots: [{name: x}]", "1:1 title: expected text, found a list"),
        ("title: yes\nslots: [{name: x}]", "1:1 title: expected text, found yes or no"),
        ("title:\nslots: [{name: x}]", "1:1 title: expected text, found nothing"),
        ("title: bad\nslots: [{name: x}]", "1:1 title: the title is bad\n  Choose another title."),
        ("title: blame rows\nslots: [{name: x}]\nrows: 3", "3:1 rows: the title needs rows\n  Set rows."),
        ("title: a\nslots: [{name: x}, {name: x}]", "2:21 slots[1].name: two slots have the same name\n  Rename one."),
    ],
)
def test_each_kind_of_error_has_a_location_plain_words_and_a_hint(path: Path, text: str, message: str) -> None:
    error = error_of(path, text)
    assert error.problems == (error,), str(error)
    assert message in str(error)
    assert str(error).startswith(f"{path}:")


def test_a_misspelled_key_is_not_reported_as_missing_too(path: Path) -> None:
    error = error_of(path, "titel: a\nslots: [{nmae: x}]\n")
    assert [problem.what for problem in error.problems] == ["unknown key 'titel'", "unknown key 'nmae'"]


def test_a_list_with_wrong_entries_is_not_reported_as_empty_too(path: Path) -> None:
    error = error_of(path, "title: a\nslots: [{}]\n")
    assert [problem.what for problem in error.problems] == ["the key 'name' is missing"]


def test_all_problems_come_in_the_order_of_the_lines(path: Path) -> None:
    error = error_of(path, "unknown: 1\nslots:\n  - {}\n  - weight: 3\nrows: 0\nrows: 0\ntitle: 3\n")
    assert [(problem.where.line, problem.where.key) for problem in error.problems] == [
        (1, "unknown"),
        (3, "slots[0].name"),
        (4, "slots[1].name"),
        (4, "slots[1].weight"),
        (5, "rows"),
        (6, "rows"),
        (7, "title"),
    ]


def test_problems_without_a_line_keep_their_place_among_the_files() -> None:
    problems = [
        InputError("a", where=Location("b.yaml", 3, 1)),
        InputError("b", where="somewhere"),
        InputError("c", where=Location("b.yaml", 2, 1)),
    ]
    assert [problem.what for problem in sorted_by_line(problems)] == ["c", "a", "b"]


def test_all_problems_of_a_large_file_are_counted(path: Path) -> None:
    error = error_of(path, GOOD + "shares:\n" + "".join(f"  share_{index}: 0\n" for index in range(2000)))
    assert len(error.problems) == 2000
    assert str(error).startswith("2000 problems:\n")
    assert str(error).endswith("\nand 1950 more")


class _Keyed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    entries: dict[Annotated[str, Field(pattern=r"^\[?[a-z]+\]?$")], dict[str, StrictBool]] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("entries: {A: {b: yes}}", "entries.A"),
        ("entries: {A: {'[key]': yes}}", "entries.A"),
        ("entries: {a: {'[key]': 1}}", "entries.a.[key]"),
        ("entries: {'[key]': entries}", "entries.[key]"),
        ("entries: {'[key]': {a: 1}}", "entries.[key].a"),
        ("entries: {'[key]': 1}", "entries.[key]"),
        ("entries: {a: {b: yes}}\n'[key]': 1", "[key]"),
    ],
)
def test_a_key_may_have_the_name_that_pydantic_uses_for_invalid_keys(path: Path, text: str, place: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        validate(_Keyed, read_yaml(path))
    assert [problem.where.key for problem in caught.value.problems] == [place]
