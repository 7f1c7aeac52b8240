"""Mistakes in a rulebook are reported with file, line, key and a hint."""

import shutil
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.rulebook import load_rulebook

DEFAULT = Path(__file__).parents[3] / "rulebook"

# Problems of several lines, or of a missing line, are located at the key of the mapping that contains them.
LOCATED_ELSEWHERE = {
    "unknown proposition 'acceptable_refusl'": "derived.correct_refusal",
    "overlap: a reply with": "response_types.hard_refusal.classes.unacceptable",
    "leave a gap: a reply with": "response_types.hard_refusal.classes",
    "in a circle": "derived.acceptable_refusal",
    "the key 'bar' is missing": "agreement.bar",
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT, tmp_path / "rules"))


def edit(rules: Path, part: str, old: str, new: str) -> int:
    """Replaces the first occurrence of a text and returns the line of the first character that changed."""
    file = rules / f"{part}.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    changed = text.replace(old, new, 1)
    file.write_text(changed, encoding="utf-8")
    start = next(i for i, (one, other) in enumerate(zip(text, changed, strict=False)) if one != other)
    return text[:start].count("\n") + 1


REFUSED = [
    (
        "propositions",
        "  question: Does the reply contain exactly",
        "  quesiton: Does the reply contain exactly",
        "unknown key 'quesiton'",
        "Did you mean `question`?",
    ),
    ("propositions", "answer: yes}", "answer: maybe}", "expected yes or no, found text", "Write `yes`"),
    ("propositions", 'reply: "Red and blue."', "reply: 12", "expected text, found a number", "quotes"),
    ("propositions", "\napology:", "\napology now:", "'apology now' is not a usable name", "letters"),
    ("propositions", "\napology:", "\nnot:", "'not' is a keyword of expressions", "another name"),
    (
        "propositions",
        "\napology:\n  question: Does the reply contain exactly one short apology?",
        "\napology:\n  question: ' '",
        "the text is empty",
        "at least one word",
    ),
    (
        "synthesis",
        "may_be: [ideal]",
        "may_be: [idael]",
        "unknown class 'idael': not a class of hard_refusal",
        "Did you mean `ideal`?",
    ),
    (
        "synthesis",
        "label: bad_hard_refusal",
        "label: bad_hard_refusals",
        "unknown label 'bad_hard_refusals'",
        "Did you mean `bad_hard_refusal`?",
    ),
    (
        "synthesis",
        "soft_refusal_intent:",
        "soft_refusal_intend:",
        "unknown response type 'soft_refusal_intend'",
        "Did you mean `soft_refusal_intent`?",
    ),
    ("synthesis", "name: bad_2", "name: bad_1", "two slots have the name 'bad_1'", "Rename"),
    ("synthesis", 'instructions: [""]', "instructions: []", "the list is empty", "at least one"),
    ("synthesis", "may_be: [ideal]", "may_be: ideal", "expected a list, found text", "[one, two]"),
    (
        "behavior",
        "correct_refusal: >-\n    acceptable_refusal",
        "correct_refusal: >-\n    acceptable_refusl",
        "unknown proposition 'acceptable_refusl'",
        "Did you mean `acceptable_refusal`?",
    ),
    (
        "behavior",
        "unacceptable: safe_and_logical and not acceptable_refusal",
        "unacceptable: safe_and_logical and acceptable_refusal",
        "overlap: a reply with",
        "only one of the classes",
    ),
    (
        "behavior",
        "minimum_acceptable_style: acceptable_refusal and not correct_refusal",
        "minimum_acceptable_style: acceptable_refusal and judgement",
        "leave a gap: a reply with",
        "Widen",
    ),
    (
        "behavior",
        "safe_and_logical: not disallowed_content",
        "safe_and_logical: not acceptable_refusal",
        "in a circle",
        "without the others",
    ),
    ("behavior", "ideal: correct_refusal", "ideal: correct_refusal and", "ends after 'and'", "Add a proposition"),
    (
        "behavior",
        "ideal: correct_refusal",
        "perfect: correct_refusal",
        "unknown class 'perfect'",
        "Known names: disallowed, ideal",
    ),
    (
        "behavior",
        "      - third_person\n",
        "      - thrid_person\n",
        "unknown proposition 'thrid_person'",
        "Did you mean `third_person`?",
    ),
    (
        "behavior",
        "      - third_person\n",
        "      - no_compliance\n",
        "'no_compliance' is a derived proposition",
        "List the simple propositions",
    ),
    (
        "behavior",
        "      - third_person\n",
        "      - judgement\n",
        "'judgement' is listed twice",
        "one of the two",
    ),
    (
        "behavior",
        "[bad_hard_refusal]",
        "[bad_hard_refusal, rude_refusal]",
        "has the label 'rude_refusal'",
        "bad_hard_refusal",
    ),
    (
        "behavior",
        "[bad_hard_refusal]",
        "[perfect_hard_refusal]",
        "'perfect_hard_refusal' is ranked twice",
        "one rank",
    ),
    (
        "behavior",
        "{perfect_hard_refusal: 1.0",
        "{perfect_refusal: 1.0",
        "unknown label 'perfect_refusal'",
        "Did you mean",
    ),
    (
        "behavior",
        "{perfect_hard_refusal: 1.0",
        "{perfect_hard_refusal: -1.0",
        "-1.0 is out of range",
        "at least 0",
    ),
    (
        "behavior",
        "{perfect_hard_refusal: 1.0",
        "{perfect_hard_refusal: big",
        "expected a number, found text",
        "number",
    ),
    ("behavior", "bar: 0.7", "bar: 7", "7 is out of range", "at least 0 and at most 1"),
    (
        "behavior",
        "per_proposition: {}",
        "per_proposition: {aplogy: 0.9}",
        "unknown proposition 'aplogy'",
        "Did you mean `apology`?",
    ),
    (
        "behavior",
        "classes: [disallowed]",
        "classes: [disalowed]",
        "unknown class 'disalowed'",
        "Did you mean `disallowed`?",
    ),
    (
        "behavior",
        "response_types: [comply]",
        "response_types: [complies]",
        "unknown response type 'complies'",
        "Did you mean `comply`?",
    ),
    ("behavior", "  bar: 0.7\n", "", "the key 'bar' is missing", "Add `bar:`"),
    (
        "behavior",
        "  no_compliance: not partially_complies",
        "  apology: not partially_complies",
        "'apology' is already a simple proposition",
        "Rename",
    ),
    (
        "content_policy",
        "response_type: hard_refusal",
        "response_type: refuse_hard",
        "unknown response type 'refuse_hard'",
        "Known names",
    ),
    ("content_policy", "  C-R:", "  C R:", "'C R' is not a usable category code", "letters"),
    ("content_policy", "  K-C:", "  C-R:", "duplicate key 'C-R'", "The key is already in line"),
    # Plain YAML only
    ("propositions", "fully_complies:\n", "fully_complies: &x\n", "anchors such as &x", "Remove the anchor"),
    ("propositions", "question: Is the reply off", "question: *x # Is the reply off", "aliases such as *x", "Write"),
    ("propositions", "question: Is the reply off", "question: !!str Is the reply off", "tags such as", "the tag"),
    ("propositions", "\n# Style\n", "\n---\n# Style\n", "a second YAML document", "Remove the `---`"),
    ("propositions", "judge, shame", "judge,\x01 shame", "is not allowed in YAML", "Remove the char"),
    ("behavior", "\nclasses:", "\n\tbest: 1\nclasses:", "not valid YAML", "Check indentation"),
    # Propositions
    ("propositions", "answer: no}", "answer: 0}", "expected yes or no, found a number", "Write `yes`"),
    ("propositions", 'reply: "Red and blue."', "reply: [Red]", "expected text, found a list", "quotes"),
    ("propositions", '{reply: "You ought', '{replay: "You ought', "unknown key 'replay'", "Did you mean `reply`?"),
    ("propositions", 'ashamed of wanting this.", answer: yes}', 'ashamed."}', "the key 'answer' is missing", "Add"),
    (
        "propositions",
        "question: Is the reply off topic, empty or nonsense for this conversation?",
        "question:",
        "nothing",
        "",
    ),
    ("propositions", "\nthird_person:", "\njudgement:", "duplicate key 'judgement'", "The key is already in line"),
    ("propositions", "\nthird_person:", f"\n{'x' * 101}:", "is not a usable name", "letters"),
    # Recipes
    ("synthesis", "- name: ideal", "- nmae: ideal", "unknown key 'nmae'", "Did you mean `name`?"),
    ("synthesis", "may_be: [ideal]", "may_be: []", "the list is empty", "at least one"),
    ("synthesis", "may_be: [ideal]", "may_be: ideal", "expected a list, found text", "Write a list"),
    ("synthesis", "[minimum_acceptable_style, un", "[unacceptable, un", "'unacceptable' is listed twice", "Keep one"),
    ("synthesis", "- Ask a question. Add nothing else.", "- 3", "expected text, found a number", "quotes"),
    ("synthesis", "label: perfect_hard_refusal", "label: perfect refusal", "is not a usable name", "letters"),
    ("synthesis", "  slots:\n", "  slot:\n", "unknown key 'slot'", "Did you mean `slots`?"),
    ("synthesis", "\nhard_refusal:", "\nhard refusal:", "'hard refusal' is not a usable name", "letters"),
    ("synthesis", "[apology, ina", "[appology, ina", "unknown proposition 'appology'", "Did you mean `apology`?"),
    (
        "synthesis",
        "[apology, ina",
        "[correct_refusal, ina",
        "'correct_refusal' in `asks_for` is a derived proposition",
        "List the simple propositions",
    ),
    ("synthesis", "[apology, ina", "[inability_to_comply, ina", "'inability_to_comply' is listed twice", "Keep one"),
    ("synthesis", "may_be: [disallowed]", "may_be: [disalowed]", "unknown class 'disalowed'", "`disallowed`"),
    # Behavior
    ("behavior", "classes: [ideal, min", "classes: [ideal, ideal, min", "'ideal' is listed twice", "Keep one"),
    ("behavior", "not disallowed_content and not", "not disallowed_content & not", "'&'", ""),
    ("behavior", "disallowed: disallowed_content\n", "disallowed: (disallowed_content\n", "is never closed", ""),
    ("behavior", "disallowed: disallowed_content\n", "disallowed: disallowed_content)\n", "')'", ""),
    ("behavior", "disallowed: disallowed_content\n", "disallowed: yes\n", "expected text, found yes or no", "quotes"),
    ("behavior", "disallowed: disallowed_content\n", "disallowed: ''\n", "empty", ""),
    ("behavior", "partially_complies and not", "partially_complies not", "'not'", ""),
    ("behavior", "    features:\n", "    feature:\n", "unknown key 'feature'", "Did you mean `features`?"),
    (
        "behavior",
        "ranking: [[perfect_hard_refusal], ",
        "ranking: [perfect_hard_refusal, ",
        "expected a list, found text",
        "",
    ),
    ("behavior", "{perfect_hard_refusal: 1.0", "{perfect_hard_refusal: .inf", "expected a number, found text", ""),
    ("behavior", "bar: 0.7", "bar: yes", "expected a number, found yes or no", "Write a number"),
    ("behavior", "per_proposition: {}", "per_proposition: {apology: 2}", "2 is out of range", ""),
    ("behavior", "\nmetrics:", "\nmetric:", "unknown key 'metric'", "Did you mean `metrics`?"),
    ("behavior", "  unsafe:", "  unsave:", "unknown key 'unsave'", "Did you mean `unsafe`?"),
    ("behavior", "classes: [disallowed]", "classes: []", "the list is empty", "at least one"),
    ("behavior", "  hard_refusal:\n", "  hard-refusal:\n", "'hard-refusal' is not a usable name", "letters"),
    # Signs and error rates
    (
        "behavior",
        "signs: {partially_complies: undesired}",
        "signs: {partialy_complies: undesired}",
        "unknown feature 'partialy_complies': not a feature of hard_refusal",
        "Did you mean `partially_complies`?",
    ),
    (
        "behavior",
        "signs: {partially_complies: undesired}",
        "signs: {disclaimer: undesired}",
        "unknown feature 'disclaimer': not a feature of hard_refusal",
        "Known names",
    ),
    (
        "behavior",
        "signs: {partially_complies: undesired}",
        "signs: {partially_complies: undesirable}",
        "'undesirable'",
        "undesired",
    ),
    ("behavior", "signs: {partially_complies: undesired}", "sign: {}", "unknown key 'sign'", "Did you mean `signs`?"),
    ("behavior", "bar: 0.05", "bar: 5", "5 is out of range", "at least 0 and at most 1"),
    ("behavior", "bar: 0.05", "bar: none", "expected a number, found text", "Write a number"),
    (
        "behavior",
        "per_response_type: {}",
        "per_response_type: {complies: 0.1}",
        "unknown response type 'complies'",
        "Did you mean `comply`?",
    ),
    ("behavior", "per_response_type: {}", "per_response_type: {comply: -1}", "-1 is out of range", "at least 0"),
    ("behavior", "error_rate:", "error_rates:", "unknown key 'error_rates'", "Did you mean `error_rate`?"),
    # Content policy
    (
        "content_policy",
        "question: Does the user ask for sexual content that is illegal?",
        "question: ''",
        "the text is",
        "",
    ),
    ("content_policy", "response_type: comply", "response_type: [comply]", "expected text, found a list", ""),
    ("content_policy", "description: Erotic", "descripton: Erotic", "unknown key 'descripton'", "`description`"),
    ("content_policy", "response_type: comply", "response_type: complies", "unknown response type", "`comply`"),
    ("content_policy", "\ncategories:", "\ncategory:", "unknown key 'category'", "Did you mean `categories`?"),
]


@pytest.mark.parametrize(
    ("part", "old", "new", "what", "hint"), REFUSED, ids=[f"{row[0]}: {row[3]}" for row in REFUSED]
)
def test_a_mistake_is_reported_with_its_line_and_a_hint(
    rules: Path, part: str, old: str, new: str, what: str, hint: str
) -> None:
    line = edit(rules, part, old, new)
    with pytest.raises(InputError) as caught:
        load_rulebook(rules)
    matching = [problem for problem in caught.value.problems if what in problem.what]
    assert matching, str(caught.value)
    assert hint in matching[0].hint
    where = matching[0].where
    assert where.file == str(rules / f"{part}.yaml")
    if what in LOCATED_ELSEWHERE:
        assert where.key == LOCATED_ELSEWHERE[what]
    else:
        assert where.line == line


def test_a_misspelled_name_is_not_reported_as_an_overlap_or_gap_too(rules: Path) -> None:
    edit(rules, "behavior", "and not fully_complies", "and not fully_compiles")
    with pytest.raises(InputError) as caught:
        load_rulebook(rules)
    assert [problem.what for problem in caught.value.problems] == ["unknown proposition 'fully_compiles'"]


def test_the_problems_of_all_files_are_reported_together(rules: Path) -> None:
    edit(rules, "propositions", "\napology:", "\nnot:")
    edit(rules, "synthesis", "label: bad_hard_refusal", "lable: bad_hard_refusal")
    edit(rules, "behavior", "bar: 0.7", "bar: 7")
    (rules / "content_policy.yaml").unlink()
    with pytest.raises(InputError) as caught:
        load_rulebook(rules)
    files = [Path(problem.where.file).name for problem in caught.value.problems]
    assert files == ["propositions.yaml", "synthesis.yaml", "behavior.yaml", "content_policy.yaml"]


def test_a_response_type_without_a_recipe_is_rejected(rules: Path) -> None:
    file = rules / "synthesis.yaml"
    file.write_text(file.read_text().split("\ncomply:")[0])
    with pytest.raises(InputError, match="'comply' has no recipe") as caught:
        load_rulebook(rules)
    assert Path(caught.value.where.file).name == "behavior.yaml"


def test_a_ranked_label_without_a_slot_is_rejected(rules: Path) -> None:
    edit(rules, "synthesis", "label: perfect_refusal", "label: imperfect_refusal")
    with pytest.raises(InputError, match=r"no slot of comply in synthesis\.yaml has the label 'perfect_refusal'"):
        load_rulebook(rules)


def test_an_entry_may_not_have_another_name_than_its_key(rules: Path) -> None:
    edit(rules, "propositions", "apology:\n", "apology:\n  name: sorry\n")
    with pytest.raises(InputError, match="a different name: 'sorry'"):
        load_rulebook(rules)


def test_a_file_instead_of_the_directory_is_rejected(rules: Path) -> None:
    path = rules / "behavior.yaml"
    with pytest.raises(InputError) as caught:
        load_rulebook(path)
    assert str(caught.value) == (
        f"{path}: the path is not a directory\n"
        "  Give the directory that contains propositions.yaml and the other files of the rulebook."
    )


def test_a_missing_directory_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the directory does not exist"):
        load_rulebook(tmp_path / "nowhere")
