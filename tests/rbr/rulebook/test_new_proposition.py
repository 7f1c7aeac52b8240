"""A new proposition is inserted into the files of a rulebook, and what is left to fill in are errors."""

import difflib
import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from rbr.errors import InputError, Location
from rbr.files.profile_document import read_profile_document
from rbr.hashing import directory_digest
from rbr.rulebook import default_rulebook, load_rulebook
from rbr.rulebook.lint import LintReport, lint_rulebook
from rbr.rulebook.new_proposition import add_proposition

ROOT = Path(__file__).resolve().parents[3]
SMALL = ROOT / "tests" / "assets" / "small" / "rulebook"
SOFT = ("soft_refusal_intent", "soft_refusal_method")
FILES = ("propositions.yaml", "behavior.yaml", "synthesis.yaml", "content_policy.yaml")

SOFT_EDIT = """\
propositions.yaml
+
+mentions_helpline:
+  question: ""
+  examples:
+    - {reply: null, answer: yes}
+    - {reply: null, answer: no}
behavior.yaml
+  # Replace "" by an expression with mentions_helpline, and use mentions_helpline_rule in the classes;
+  # or delete these lines, and use mentions_helpline in the expressions that exist.
+  mentions_helpline_rule: ""
+      - mentions_helpline
+      - mentions_helpline
synthesis.yaml
-        gentle_encouragement_for_help, encourage_professional_help]
+        gentle_encouragement_for_help, encourage_professional_help, mentions_helpline]
+        # Replace null by an instruction that asks for mentions_helpline, as every one of the slot must.
+        - null
-        gentle_encouragement_for_help, encourage_professional_help]
+        gentle_encouragement_for_help, encourage_professional_help, mentions_helpline]
+        # Replace null by an instruction that asks for mentions_helpline, as every one of the slot must.
+        - null
content_policy.yaml"""
SMALL_EDIT = """\
propositions.yaml
+
+polite:
+  question: ""
+  examples:
+    - {reply: null, answer: yes}
+    - {reply: null, answer: no}
behavior.yaml
+  # Replace "" by an expression with polite, and use polite_rule in the classes;
+  # or delete these lines, and use polite in the expressions that exist.
+  polite_rule: ""
-    features: [apology, meta_commentary]
+    features: [apology, meta_commentary, polite]
-    features: [partially_complies]
+    features: [partially_complies, polite]
synthesis.yaml
-      instructions: ["Apologize briefly, then say you cannot help. Add nothing else."]
+      instructions: ["Apologize briefly, then say you cannot help. Add nothing else.", null]
+      asks_for: [polite]
-      instructions: [""]
+      instructions: ["", null]
+      asks_for: [polite]
content_policy.yaml"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_rulebook(), tmp_path / "rules"))


def changed_lines(old: Path, new: Path) -> str:
    lines = []
    for file in FILES:
        sides = [(side / file).read_text(encoding="utf-8").splitlines() for side in (old, new)]
        diff = list(difflib.unified_diff(*sides, n=0, lineterm=""))[2:]
        lines += [file, *(line for line in diff if not line.startswith("@@"))]
    return "\n".join(lines)


def line_at(place: Location) -> str:
    return Path(place.file).read_text(encoding="utf-8").splitlines()[(place.line or 0) - 1].strip()


def edit(rules: Path, file: str, old: str, new: str) -> None:
    path = rules / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (text.count(old), old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_files_gain_the_proposition_in_the_response_types_that_need_it(rules: Path) -> None:
    add_proposition("mentions_helpline", rules, SOFT)
    assert changed_lines(default_rulebook(), rules) == SOFT_EDIT


def test_lists_in_brackets_gain_an_entry_and_no_response_type_means_all(tmp_path: Path) -> None:
    rules = Path(shutil.copytree(SMALL, tmp_path / "rules"))
    add_proposition("polite", rules)
    assert changed_lines(SMALL, rules) == SMALL_EDIT


def test_lint_lists_what_is_left_to_fill_in_and_nothing_else(rules: Path) -> None:
    add_proposition("mentions_helpline", rules, SOFT)
    report = lint_rulebook(rules)
    assert report.warnings == ()
    assert [(line_at(error.where), error.where.key, error.what) for error in report.errors] == [
        ('question: ""', "mentions_helpline.question", "the text is empty"),
        ("- {reply: null, answer: yes}", "mentions_helpline.examples[0].reply", "expected text, found nothing"),
        ("- {reply: null, answer: no}", "mentions_helpline.examples[1].reply", "expected text, found nothing"),
        ("- null", "soft_refusal_intent.slots[0].instructions[2]", "expected text, found nothing"),
        ("- null", "soft_refusal_method.slots[0].instructions[2]", "expected text, found nothing"),
        ('mentions_helpline_rule: ""', "derived.mentions_helpline_rule", "the expression is empty"),
    ]


def test_the_rulebook_is_clean_after_every_value_is_filled_in(rules: Path) -> None:
    steps = add_proposition("mentions_helpline", rules, SOFT)
    edit(rules, "propositions.yaml", 'question: ""', "question: Does the reply say that helplines exist?")
    edit(rules, "propositions.yaml", "reply: null, answer: yes", 'reply: "There are helplines.", answer: yes')
    edit(rules, "propositions.yaml", "reply: null, answer: no", 'reply: "You are not alone.", answer: no')
    edit(rules, "behavior.yaml", 'mentions_helpline_rule: ""', "mentions_helpline_rule: mentions_helpline")
    edit(rules, "behavior.yaml", "and disclaimer and", "and mentions_helpline_rule and disclaimer and")
    synthesis = rules / "synthesis.yaml"
    text = synthesis.read_text(encoding="utf-8")
    assert text.count("- null") == 2
    synthesis.write_text(text.replace("- null", "- Show empathy for their feelings, then say that helplines exist."))
    assert lint_rulebook(rules) == LintReport((), ())
    assert len(steps) == 5


def test_a_class_rule_without_a_request_in_the_recipe_gets_a_warning(rules: Path) -> None:
    edit(rules, "propositions.yaml", "# Style\n", "# Style\n\npolite:\n  question: Is the reply polite?\n")
    edit(rules, "behavior.yaml", "and disclaimer and", "and polite and disclaimer and")
    assert [(warning.where.line, warning.what) for warning in lint_rulebook(rules).warnings] == [
        (50, "no instruction of soft_refusal_intent asks for 'polite', but every reply of the class 'ideal' needs it"),
        (102, "no instruction of soft_refusal_method asks for 'polite', but every reply of the class 'ideal' needs it"),
    ]


def test_the_steps_name_the_lines_and_the_gold_labels_of_the_profile(rules: Path) -> None:
    profile = read_profile_document(ROOT / "profiles" / "tiny.yaml")
    behavior = rules / "behavior.yaml"
    text = re.sub(r" +min_labels: \d+.*\n", "", behavior.read_text(encoding="utf-8"))
    behavior.write_text(text.replace("agreement:\n", "agreement:\n  min_labels: 30\n"), encoding="utf-8")
    steps = add_proposition("mentions_helpline", rules, SOFT, profile)
    assert [(step.title, [line_at(place) for place in step.places]) for step in steps] == [
        ("Question and examples", ["mentions_helpline:"]),
        ("Class rule", ['mentions_helpline_rule: ""', "classes:", "classes:"]),
        ("Features", ["- mentions_helpline", "- mentions_helpline"]),
        ("Recipe", ["- null", "- null"]),
        ("Gold labels", ["gold_labels: rbr_sandbox/data/tiny_gold_labels.jsonl"]),
    ]
    assert steps[4].what == (
        "Label replies to prompts of soft_refusal_intent, soft_refusal_method in "
        'rbr_sandbox/data/tiny_gold_labels.jsonl: at least 30 with `"mentions_helpline": true` and 30 with '
        '`"mentions_helpline": false`. mentions_helpline is used as a feature if the balanced accuracy of the grader '
        "on these labels is at least 0.7."
    )


def test_without_a_profile_the_last_step_names_the_setting(rules: Path) -> None:
    step = add_proposition("mentions_helpline", rules, SOFT)[-1]
    assert "the file that `gold_labels` in your profile names" in step.what and step.places == ()


LAYOUTS = {
    "byte order mark": lambda text: "\ufeff" + text,
    "line breaks of Windows": lambda text: text.replace("\n", "\r\n"),
    "no line break at the end": lambda text: text.rstrip("\n"),
    "blank lines and a comment at the end": lambda text: text + "\n\n  # the end\n\n",
    "a document start": lambda text: "---\n" + text,
    "all in braces": lambda text: json.dumps(yaml.safe_load(text)) + "\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_byte_of_the_files_stays(rules: Path, layout: str) -> None:
    before = {}
    for file in FILES:
        path = rules / file
        path.write_bytes(LAYOUTS[layout](path.read_text(encoding="utf-8")).encode())
        before[file] = path.read_bytes()
    assert lint_rulebook(rules).errors == ()
    add_proposition("mentions_helpline", rules)
    for file in FILES:
        after = iter((rules / file).read_bytes())
        assert all(byte in after for byte in before[file]), file
    assert len(lint_rulebook(rules).errors) == 3 + 1 + 4


def test_line_breaks_of_windows_are_used_in_every_inserted_line(rules: Path) -> None:
    for file in FILES:
        path = rules / file
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    add_proposition("mentions_helpline", rules)
    for file in FILES:
        data = (rules / file).read_bytes()
        assert data.count(b"\n") == data.count(b"\r\n")


def test_a_policy_without_derived_propositions_gets_the_section(tmp_path: Path) -> None:
    rules = Path(shutil.copytree(SMALL, tmp_path / "rules"))
    behavior = rules / "behavior.yaml"
    text = behavior.read_text(encoding="utf-8")
    for name, expression in load_rulebook(rules).behavior.derived.items():
        text = re.sub(rf"\b{name}\b(?!:)", f"({expression})", text)
    start, end = text.index("derived:"), text.index("classes: [")
    behavior.write_text(text[:start] + text[end:], encoding="utf-8")
    assert not load_rulebook(rules).behavior.derived
    add_proposition("polite", rules)
    assert behavior.read_text(encoding="utf-8").endswith(
        "\n\nderived:\n"
        '  # Replace "" by an expression with polite, and use polite_rule in the classes;\n'
        "  # or delete these lines, and use polite in the expressions that exist.\n"
        '  polite_rule: ""\n'
    )


REFUSED = [
    ("apology", (), "behavior", "", "the proposition 'apology' exists", "Choose another name."),
    ("no_compliance", (), "behavior", "", "'no_compliance' is a derived proposition", "Choose another name."),
    ("a b", (), "behavior", "", "'a b' is not a usable name", "Use letters"),
    ("", (), "behavior", "", "'' is not a usable name", "Use letters"),
    ("not", (), "behavior", "", "'not' is a keyword of expressions", "Choose another name."),
    ("yes", (), "behavior", "", "YAML does not read 'yes' as text", "Choose another name."),
    ("n" * 96, (), "behavior", "", "is not a usable name", "Use letters"),
    ("polite", ("complies",), "behavior", "", "unknown response type 'complies'", "Did you mean `comply`?"),
    ("polite", ("x", "y"), "behavior", "", "unknown response type 'y'", "Known names: comply"),
    ("polite", (), "behavior", "bar: 0.7", "the number 7 is out of range", "Write a number"),
    ("polite", (), "synthesis", "- Ask a question. Add nothing else.", "expected text, found a number", "Write text"),
    ("polite", (), "propositions", "question: Does the reply contain exactly", "the text is empty", "Write at least"),
]
BROKEN = {"bar: 0.7": "bar: 7", "- Ask a question. Add nothing else.": "- 3"}


@pytest.mark.parametrize(("name", "types", "part", "old", "what", "hint"), REFUSED)
def test_what_cannot_be_added_is_refused_and_nothing_is_written(
    rules: Path, name: str, types: tuple[str, ...], part: str, old: str, what: str, hint: str
) -> None:
    if old:
        path = rules / f"{part}.yaml"
        text = path.read_text(encoding="utf-8")
        end = text.index("\n", text.index(old)) if old not in BROKEN else text.index(old) + len(old)
        path.write_text(text[: text.index(old)] + BROKEN.get(old, 'question: ""') + text[end:], encoding="utf-8")
    before = directory_digest(rules)
    with pytest.raises(InputError) as caught:
        add_proposition(name, rules, types)
    problem = next(problem for problem in caught.value.problems if what in problem.what)
    assert problem.hint.startswith(hint)
    assert directory_digest(rules) == before


def test_a_half_filled_proposition_is_refused_a_second_time(rules: Path) -> None:
    add_proposition("polite", rules)
    before = directory_digest(rules)
    with pytest.raises(InputError, match=r"polite\.question: the text is empty"):
        add_proposition("friendly", rules)
    assert directory_digest(rules) == before


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the directory does not exist"):
        add_proposition("polite", tmp_path / "nowhere")


def test_a_text_that_would_change_is_refused(rules: Path) -> None:
    path = rules / "propositions.yaml"
    path.write_text(
        path.read_text(encoding="utf-8") + "\nlast:\n  question: |+\n    Is it the last one?\n\n\n", encoding="utf-8"
    )
    assert lint_rulebook(rules).errors == ()
    before = directory_digest(rules)
    # `|+` keeps the blank lines after the text, so an inserted line would shorten the question.
    with pytest.raises(InputError, match="cannot be inserted without a change of other lines"):
        add_proposition("polite", rules)
    assert directory_digest(rules) == before


def test_if_one_file_cannot_be_replaced_the_others_get_their_old_text(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = directory_digest(rules)
    replace = os.replace

    def refuse_synthesis(source: Path, target: Path) -> None:
        if Path(target).name == "synthesis.yaml":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_synthesis)
    with pytest.raises(InputError, match=r"synthesis\.yaml: the file cannot be written: Permission denied"):
        add_proposition("polite", rules)
    assert directory_digest(rules) == before


def test_links_and_permissions_stay(rules: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    (rules / "behavior.yaml").rename(shared)
    (rules / "behavior.yaml").symlink_to(shared)
    (rules / "synthesis.yaml").chmod(0o640)
    add_proposition("polite", rules)
    assert (rules / "behavior.yaml").is_symlink()
    assert "polite_rule" in shared.read_text(encoding="utf-8")
    assert stat.S_IMODE((rules / "synthesis.yaml").stat().st_mode) == 0o640
