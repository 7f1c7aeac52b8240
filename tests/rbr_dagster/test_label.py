"""`rbr label`: replies are chosen for people to label, and their labels reach a gold file whole or not at all."""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rbr.errors import InputError
from rbr.files.data_files import load_gold_labels
from rbr.grading import Question, question_hash
from rbr.rulebook import load_rulebook, propositions_needed
from rbr_dagster.cli import app
from rbr_dagster.environment import Environment
from rbr_dagster.label.gold_file import LabeledReply, add_labels
from rbr_dagster.label.new_sheet import as_plain_text, make_sheet
from rbr_dagster.label.read_labels import read_labels
from rbr_dagster.label.selection import Candidate, choose_replies
from rbr_dagster.label.sheet import escape, read_sheet, unescape, write_sheet
from resources.asset_testing import fill_table, save_snapshots
from resources.models import grader_in_use
from resources.sources import read_sources
from tests.rbr_dagster.edited_pipeline import ROOT

RULEBOOK = load_rulebook(ROOT / "rulebook")
CATEGORY_OF = {"hard_refusal": "K-R", "comply": "None"}
TRICKY = (
    '=HYPERLINK("http://127.0.0.1","x")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "'Tis",
    'a "quoted", b',
    "two\nlines",
    "=",
)


@pytest.fixture
def environment(_filled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """A state directory with 40 graded replies, two to each prompt; the first replies are hard for a spreadsheet."""
    monkeypatch.chdir(ROOT)
    shutil.copytree(_filled_home, tmp_path / "home")
    return Environment(tmp_path / "home", ROOT / "profiles" / "tiny.yaml", ROOT / "rulebook")


@pytest.fixture(scope="module")
def _filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("label") / "home"
    environment = Environment(home, ROOT / "profiles" / "tiny.yaml", ROOT / "rulebook")
    environment.home.mkdir()
    store = environment.store
    contents = read_sources(environment.profile, environment.rulebook)
    prompts = [
        {
            "prompt_id": f"p{number}",
            "messages": [{"role": "user", "content": f"Question {number}?"}],
            "category": CATEGORY_OF["comply" if number % 2 else "hard_refusal"],
            "held_out": None,
        }
        for number in range(20)
    ]
    save_snapshots(store, {**contents, "data/prompts": prompts})
    labeled = [
        {**prompt, "messages": json.dumps(prompt["messages"]), "category_source": "given", "response_type": "x"}
        for prompt in prompts
    ]
    fill_table(store, "labeled_prompts", labeled)
    fill_table(store, "checked_prompts", [{**prompt, "messages": json.dumps(prompt["messages"])} for prompt in prompts])
    replies = [
        {
            "completion_id": f"c{number:02}",
            "prompt_id": f"p{number // 2}",
            "instruction": "",
            "policy": "policy",
            "sampling": "sampling",
            "candidate": number % 2,
            "text": TRICKY[number] if number < len(TRICKY) else f"Reply {number}.",
            "n_tokens": 3,
            "finished": True,
        }
        for number in range(40)
    ]
    fill_table(store, "completions", replies)
    grader = grader_in_use(store)
    grades = []
    for number in range(40):
        response_type = "comply" if number // 2 % 2 else "hard_refusal"
        for position, name in enumerate(propositions_needed(RULEBOOK.behavior, response_type)):
            entry = RULEBOOK.propositions[name]
            question = question_hash(Question(name, entry.question, entry.examples), grader.settings.few_shot)
            p_yes = ((number * 37 + position * 61) % 97) / 97
            key = {"completion_id": f"c{number:02}", "question": question, "grader": grader.version, "p_yes": p_yes}
            grades.append({**key, "outcome": "answered", "bound": 0.0})
    fill_table(store, "grades", grades)
    return home


def rows_of(sheet: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))


def save(sheet: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    """Saves a sheet as a spreadsheet does: with quotes only where they are needed."""
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def edited(environment: Environment, sheet: Path, edit: Callable[[list[dict[str, str]]], object]) -> Path:
    """Writes a sheet with all replies, labels the first row, edits the rows and saves them."""
    make_sheet(environment, sheet, number=100, seed=0)
    rows = rows_of(sheet)
    rows[0]["disallowed_content"] = "no"
    edit(rows)
    save(sheet, rows)
    return sheet


# The choice


def candidates(*strata: str, certainty: float | None = 0.2) -> list[Candidate]:
    return [Candidate(f"c{n}", f"p{n}", stratum, certainty) for n, stratum in enumerate(strata)]


def test_every_stratum_gets_equally_many_replies_even_if_one_is_rare() -> None:
    replies = candidates(*["ideal"] * 90, *["rare"] * 5, *["bad"] * 40)
    strata = {one.completion_id: one.stratum for one in replies}
    counts = Counter(strata[name] for name in choose_replies(replies, 15, seed=0))
    assert counts == {"ideal": 5, "rare": 5, "bad": 5}


def test_half_of_the_replies_are_those_about_which_the_grader_is_least_sure() -> None:
    replies = [Candidate(f"c{n:03}", f"p{n}", "ideal", n / 400) for n in range(200)]
    chosen = choose_replies(replies, 40, seed=0)
    assert set(chosen) >= {f"c{n:03}" for n in range(20)}
    assert max(chosen) > "c100"


def test_no_prompt_gets_a_second_reply_as_long_as_there_are_others() -> None:
    replies = [Candidate(f"c{n}", f"p{n % 10}", "ideal" if n % 2 else "bad", 0.1) for n in range(40)]
    prompts = {one.completion_id: one.prompt_id for one in replies}
    assert len({prompts[name] for name in choose_replies(replies, 10, seed=0)}) == 10
    assert len(choose_replies(replies, 100, seed=0)) == 40


@given(st.permutations(range(30)), st.integers(0, 40), st.integers(0, 5))
def test_the_choice_depends_on_the_seed_and_not_on_the_order(order: list[int], number: int, seed: int) -> None:
    replies = [Candidate(f"c{n}", f"p{n % 12}", f"s{n % 4}", None if n % 7 == 0 else n / 60) for n in range(30)]
    chosen = choose_replies(replies, number, seed)
    assert choose_replies([replies[n] for n in order], number, seed) == chosen
    assert len(chosen) == len(set(chosen)) == min(number, 30)


def test_another_seed_gives_other_replies() -> None:
    replies = candidates(*["ideal"] * 50)
    assert choose_replies(replies, 10, seed=0) != choose_replies(replies, 10, seed=1)


# The new sheet


def test_a_sheet_has_an_empty_column_for_every_proposition_and_no_grade(
    environment: Environment, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.csv"
    made = make_sheet(environment, sheet, number=10, seed=0)
    rows = rows_of(sheet)
    needed = {name for rt in RULEBOOK.behavior.response_types for name in propositions_needed(RULEBOOK.behavior, rt)}
    assert list(rows[0]) == ["id", "category", "prompt", "reply", *sorted(needed)]
    assert len(rows) == sum(made.strata.values()) == 10
    assert {row[name] for row in rows for name in needed} == {""}
    assert set(made.questions) == needed


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hi.\n[2: assistant]\n  I am evil.\n[3: user]\nThanks."}],
        [{"role": "user", "content": "[1: system]\r[2: user]\u2028[3: assistant]"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi.\n\n[3: user]\nBye."}],
    ],
    ids=["further turns", "the first turn, with other line ends", "two turns"],
)
def test_a_prompt_cannot_imitate_turns(messages: list[dict[str, str]]) -> None:
    lines = as_plain_text(messages).splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        f"[{number}: {turn['role']}]" for number, turn in enumerate(messages, start=1)
    ]
    assert [line[2:] for line in lines if line.startswith("  ")] == [
        line for turn in messages for line in turn["content"].splitlines()
    ]


def test_a_folded_prompt_has_the_turns_that_the_models_read(environment: Environment, tmp_path: Path) -> None:
    store, folded = environment.store, [{"role": "user", "content": "Be brief.\n\nQuestion?"}]
    prompt = {"prompt_id": "folded", "messages": json.dumps(folded), "category": "K-R"}
    fill_table(store, "checked_prompts", [prompt])
    fill_table(store, "labeled_prompts", [{**prompt, "category_source": "given", "response_type": "hard_refusal"}])
    store.replace("completions", store.read("completions").head(1).with_columns(prompt_id=pl.lit("folded")))
    make_sheet(environment, tmp_path / "sheet.csv", number=5, seed=0)
    (row,) = rows_of(tmp_path / "sheet.csv")
    assert row["prompt"] == as_plain_text(folded)
    save(tmp_path / "sheet.csv", [{**row, "apology": "no"}])
    read_labels(environment, tmp_path / "sheet.csv", tmp_path / "gold.jsonl")
    assert list(load_gold_labels(tmp_path / "gold.jsonl")[0].messages) == folded


def test_the_same_seed_gives_the_same_sheet(environment: Environment, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_sheet(environment, tmp_path / f"{name}.csv", number=10, seed=3)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_grades_are_shown_only_if_they_are_wanted(environment: Environment, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jsonl"
    make_sheet(environment, sheet, number=5, seed=0, propositions=["disallowed_content"], show_grades=True)
    for line in sheet.read_text().splitlines():
        row = json.loads(line)
        assert row["disallowed_content"] is None
        assert 0 <= row["grade: disallowed_content"] <= 1


def test_replies_in_a_gold_file_are_left_out(environment: Environment, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    row = {"messages": [{"role": "user", "content": "Question 9?"}], "reply": "Reply 19.", "category": "None"}
    gold.write_text(json.dumps({**row, "labels": {"apology": False}}))
    made = make_sheet(environment, tmp_path / "sheet.csv", number=100, seed=0, gold=[gold])
    assert sum(made.strata.values()) == 39
    assert "c19" not in {row["id"] for row in rows_of(tmp_path / "sheet.csv")}


def test_a_gold_reply_with_its_thought_is_the_stored_reply_without_it(environment: Environment, tmp_path: Path) -> None:
    sheet, gold = tmp_path / "sheet.csv", tmp_path / "gold.jsonl"
    row = {
        "messages": [{"role": "user", "content": "Question 9?"}],
        "reply": "<think>Hm.</think>Reply 19.",
        "category": "None",
        "labels": {"apology": False},
    }
    gold.write_text(json.dumps(row))
    make_sheet(environment, sheet, number=100, seed=0)
    (found,) = [row for row in rows_of(sheet) if row["id"] == "c19"]
    save(sheet, [{**found, "disallowed_content": "no"}])
    assert read_labels(environment, sheet, gold).added.extended == 1
    (line,) = load_gold_labels(gold)
    assert (line.reply, line.labels) == ("Reply 19.", {"apology": False, "disallowed_content": False})
    assert "<think>Hm.</think>" in gold.read_text()
    make_sheet(environment, tmp_path / "again.csv", number=100, seed=0, gold=[gold])
    assert "c19" not in {row["id"] for row in rows_of(tmp_path / "again.csv")}


def test_replies_for_one_proposition_are_chosen_by_its_answer(environment: Environment, tmp_path: Path) -> None:
    made = make_sheet(environment, tmp_path / "sheet.csv", number=10, seed=0, propositions=["disallowed_content"])
    assert made.strata == {"disallowed_content: no": 5, "disallowed_content: yes": 5}
    assert list(rows_of(tmp_path / "sheet.csv")[0])[4:] == ["disallowed_content"]


def test_replies_without_a_grade_come_last(environment: Environment, tmp_path: Path) -> None:
    grades = environment.store.read("grades").filter(completion_id="c20").to_dicts()
    fill_table(environment.store, "grades", grades)
    made = make_sheet(environment, tmp_path / "sheet.csv", number=3, seed=0, propositions=["disallowed_content"])
    assert sorted(made.strata.values()) == [1, 2]
    assert made.strata["disallowed_content: no grade"] == 2
    assert "c20" in {row["id"] for row in rows_of(tmp_path / "sheet.csv")}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sheet.xlsx", {}, "Use a name that ends in .csv or .jsonl"),
        ("taken.csv", {}, "the sheet exists"),
        ("sheet.csv", {"propositions": ["apolgy"]}, "Did you mean `apology`?"),
    ],
)
def test_a_sheet_that_cannot_be_made_is_refused_in_words(
    name: str, options: dict, message: str, environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "taken.csv").write_text("labels of somebody")
    with pytest.raises(InputError) as caught:
        make_sheet(environment, tmp_path / name, number=5, seed=0, **options)
    assert message in str(caught.value)
    assert (tmp_path / "taken.csv").read_text() == "labels of somebody"


def test_without_stored_replies_the_error_says_which_command_samples_them(tmp_path: Path) -> None:
    empty = Environment(tmp_path / "home", ROOT / "profiles" / "tiny.yaml", ROOT / "rulebook")
    with pytest.raises(InputError, match="there are no replies to label yet") as caught:
        make_sheet(empty, tmp_path / "sheet.csv", number=5, seed=0)
    assert "rbr run --only proposition_grades" in caught.value.hint


# Spreadsheets


@given(st.text())
def test_no_cell_begins_like_a_formula_and_every_text_comes_back(text: str) -> None:
    assert not escape(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unescape(escape(text)) == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=5))
def test_a_sheet_that_nobody_has_changed_gives_the_same_texts(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        for name in ("sheet.csv", "sheet.jsonl"):
            path = Path(directory) / name
            write_sheet(path, ["id", "reply"], [{"id": str(n), "reply": text} for n, text in enumerate(texts)])
            columns, rows, problems = read_sheet(path)
            assert (columns, problems) == (["id", "reply"], [])
            cells = [str(row.fields["reply"]) for row in rows]
            assert [unescape(cell) if name.endswith(".csv") else cell for cell in cells] == texts


def test_replies_that_begin_like_a_formula_are_harmless_and_reach_the_gold_file_unchanged(
    environment: Environment, tmp_path: Path
) -> None:
    sheet, gold = tmp_path / "sheet.csv", tmp_path / "gold.jsonl"
    make_sheet(environment, sheet, number=100, seed=0)
    rows = rows_of(sheet)
    assert all(row["reply"][:1] not in tuple("=+-@\t") for row in rows)
    for row in rows:
        row["disallowed_content"] = "no"
    save(sheet, rows)
    read_labels(environment, sheet, gold)
    assert set(TRICKY) <= {row.reply for row in load_gold_labels(gold)}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.removeprefix("'"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"{text}\n",
    ],
    ids=["the apostrophe is gone", "Windows line breaks", "a line break at the end"],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_do_to_texts_is_no_change(
    change: Callable[[str], str], delimiter: str, environment: Environment, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.csv"
    make_sheet(environment, sheet, number=100, seed=0)
    rows = [{**row, "reply": change(row["reply"]), "disallowed_content": "FALSE"} for row in rows_of(sheet)]
    save(sheet, rows, delimiter)
    assert read_labels(environment, sheet, tmp_path / "gold.jsonl").added.new == 40


# Labels


@pytest.mark.parametrize(
    ("value", "label"),
    [("yes", True), ("Yes ", True), ("TRUE", True), ("1", True), ("no", False), ("false", False), ("0", False)],
)
def test_a_label_may_be_written_in_several_ways(
    value: str, label: bool, environment: Environment, tmp_path: Path
) -> None:
    sheet = edited(environment, tmp_path / "sheet.csv", lambda rows: rows[0].update(disallowed_content=value))
    read = read_labels(environment, sheet, tmp_path / "gold.jsonl")
    assert read.without_label == 39
    (row,) = load_gold_labels(tmp_path / "gold.jsonl")
    assert row.labels == {"disallowed_content": label}


@pytest.mark.parametrize(("value", "label"), [(True, True), (False, False), (1, True), (0, False), ("no", False)])
def test_a_label_in_json_lines_may_be_a_value_of_json(
    value: object, label: bool, environment: Environment, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.jsonl"
    make_sheet(environment, sheet, number=1, seed=0)
    sheet.write_text(json.dumps({**json.loads(sheet.read_text()), "disallowed_content": value}))
    read_labels(environment, sheet, tmp_path / "gold.jsonl")
    assert load_gold_labels(tmp_path / "gold.jsonl")[0].labels == {"disallowed_content": label}


def test_all_problems_are_reported_together_each_with_its_line_and_nothing_is_written(
    environment: Environment, tmp_path: Path
) -> None:
    def spoil(rows: list[dict[str, str]]) -> None:
        rows[1]["disallowed_content"] = "maybe"
        rows[2]["id"] = "c99"
        rows[3]["reply"] = "Another reply."
        rows[4]["prompt"] += "?"
        rows[5]["category"] = "K-RR"
        rows[6]["id"] = rows[7]["id"]
        for row in rows:
            row["apolgy"] = ""

    gold = tmp_path / "gold.jsonl"
    gold.write_text("")
    sheet = edited(environment, tmp_path / "sheet.csv", spoil)
    with pytest.raises(InputError) as caught:
        read_labels(environment, sheet, gold)
    text = str(caught.value)
    for message in (
        "sheet.csv:1: unknown proposition 'apolgy'\n  Did you mean `apology`?",
        "disallowed_content: 'maybe' is no answer\n  Write yes, no, true, false, 1 or 0, or nothing.",
        "id: no stored reply has the id c99",
        "reply: the text of the reply was changed",
        "prompt: the text of the prompt was changed",
        "category: the category K-RR is not in the content policy\n  Did you mean `K-R`?",
        "id: the reply is the same as in line ",
    ):
        assert message.replace("'apolgy'", "'apolgy'") in text.replace("'c99'", "c99").replace("'K-RR'", "K-RR"), (
            message
        )
    lines = [problem.where.line for problem in caught.value.problems]
    assert lines == sorted(lines) and len(lines) >= 7
    assert gold.read_text() == ""


def test_an_unknown_column_is_one_problem_whatever_its_cells_say(environment: Environment, tmp_path: Path) -> None:
    def annotate(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["comments"] = "I am not sure."

    sheet = edited(environment, tmp_path / "sheet.csv", annotate)
    with pytest.raises(InputError) as caught:
        read_labels(environment, sheet, tmp_path / "gold.jsonl")
    (problem,) = caught.value.problems
    assert problem.what == "unknown proposition 'comments'"


def test_a_column_of_remarks_is_allowed(environment: Environment, tmp_path: Path) -> None:
    def annotate(rows: list[dict[str, str]]) -> None:
        rows[0]["disallowed_content"] = "yes"
        for row in rows:
            row["remark"] = "I am not sure."

    sheet = edited(environment, tmp_path / "sheet.csv", annotate)
    read_labels(environment, sheet, tmp_path / "gold.jsonl")
    assert load_gold_labels(tmp_path / "gold.jsonl")[0].labels == {"disallowed_content": True}


def test_a_column_that_is_missing_is_named(environment: Environment, tmp_path: Path) -> None:
    sheet = edited(environment, tmp_path / "sheet.csv", lambda rows: [row.pop("reply") for row in rows])
    with pytest.raises(InputError, match="the column `reply` is missing"):
        read_labels(environment, sheet, tmp_path / "gold.jsonl")
    assert not (tmp_path / "gold.jsonl").exists()


def test_a_sheet_without_labels_is_refused(environment: Environment, tmp_path: Path) -> None:
    make_sheet(environment, tmp_path / "sheet.csv", number=5, seed=0)
    with pytest.raises(InputError, match="the sheet has no label"):
        read_labels(environment, tmp_path / "sheet.csv", tmp_path / "gold.jsonl")


# The gold file


def labeled(reply: str, **labels: bool) -> LabeledReply:
    from rbr.errors import Location

    messages = [{"role": "user", "content": "Hi."}]
    return LabeledReply(Location("sheet.csv", 2), messages, reply, "None", labels)


def labels_in(gold: Path) -> list[tuple[str, dict[str, bool]]]:
    return [(row.reply, row.labels) for row in load_gold_labels(gold)]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """A gold file of two rows, the second one in the format of the released data, without a line break at its end."""
    messages = [{"role": "user", "content": "Hi."}]
    first = {"messages": messages, "reply": "A", "category": "None", "labels": {"apology": True}}
    released = {"prompt": messages, "completion": [{"role": "assistant", "content": "B"}], "category": "None"}
    second = {**released, "response_type": "comply", "propositions": {"apology": False}}
    path = tmp_path / "gold.jsonl"
    path.write_text(f"{json.dumps(first)}\n\n{json.dumps(second)}")
    return path


def test_new_replies_are_appended_and_old_lines_stay_as_they_are(gold: Path) -> None:
    before = gold.read_text()
    assert add_labels(gold, [labeled("C", apology=True, judgement=False)]).labels == 2
    assert gold.read_text().startswith(f"{before}\n")
    assert labels_in(gold)[-1] == ("C", {"apology": True, "judgement": False})


@pytest.mark.parametrize("reply", ["A", "B"])
def test_labels_of_other_propositions_are_added_to_the_line_of_the_reply(reply: str, gold: Path) -> None:
    added = add_labels(gold, [labeled(reply, judgement=True)])
    assert (added.new, added.extended, added.labels) == (0, 1, 1)
    assert dict(labels_in(gold))[reply] == {"apology": reply == "A", "judgement": True}
    assert len(labels_in(gold)) == 2


def test_labels_that_the_file_has_already_change_nothing(gold: Path) -> None:
    before = gold.read_bytes()
    assert add_labels(gold, [labeled("A", apology=True)]).unchanged == 1
    assert gold.read_bytes() == before


def test_a_label_that_contradicts_the_file_is_refused_with_both_places_and_nothing_is_written(gold: Path) -> None:
    before = gold.read_bytes()
    with pytest.raises(InputError) as caught:
        add_labels(gold, [labeled("C", apology=True), labeled("A", apology=False)])
    assert f"sheet.csv:2 apology: the label is no, but {gold}:1 has the label yes for the same reply" in str(
        caught.value
    )
    assert gold.read_bytes() == before


def test_reading_a_sheet_twice_changes_nothing_the_second_time(environment: Environment, tmp_path: Path) -> None:
    sheet, gold = edited(environment, tmp_path / "sheet.csv", lambda rows: None), tmp_path / "new.jsonl"
    assert read_labels(environment, sheet, gold).added.new == 1
    before = gold.read_bytes()
    assert read_labels(environment, sheet, gold).added.unchanged == 1
    assert gold.read_bytes() == before


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the gold file cannot be created"):
        add_labels(tmp_path / "missing" / "gold.jsonl", [labeled("A", apology=True)])


# The command


def test_the_commands_write_a_sheet_and_read_it_back(environment: Environment, tmp_path: Path) -> None:
    variables = {"RBR_HOME": str(environment.home), "RBR_PROFILE": "tiny"}
    sheet, gold = tmp_path / "sheet.csv", tmp_path / "gold.jsonl"
    made = CliRunner().invoke(app, ["label", "new", str(sheet), "-n", "6"], env=variables)
    assert made.exit_code == 0, made.output
    assert f"Wrote {sheet} with 6 replies." in made.output
    assert RULEBOOK.propositions["apology"].question in made.output
    save(sheet, [{**row, "disallowed_content": "no"} for row in rows_of(sheet)])
    read = CliRunner().invoke(app, ["label", "read", str(sheet), "--gold", str(gold)], env=variables)
    assert read.exit_code == 0, read.output
    assert f"Added 6 labels to {gold}: 6 new replies" in read.output
