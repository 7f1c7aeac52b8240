"""Warnings about rules that load but have no effect or contradict each other."""

import itertools
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.rulebook import compile_rules, default_rulebook
from rbr.rulebook.lint import LintReport, lint_rulebook
from rbr.rulebook.recipe_lint import necessary_propositions

FILES = ("propositions", "behavior", "synthesis", "content_policy")
Edit = tuple[str, str, str]

UNREACHABLE: list[Edit] = [
    ("behavior", "not no_compliance and not meta_commentary", "not no_compliance"),
    ("behavior", "safe_and_logical and not no_compliance and meta_commentary", "no_compliance and partially_complies"),
]
LECTURE_IF_REFUSED = "(inability_to_comply and judgement or not inability_to_comply and not judgement)"
NO_REPLY = ("behavior", "response_types.comply.classes.minimum_acceptable_style", "no reply can fall into the class")

WARNED: dict[str, tuple[list[Edit], set[tuple[str, str, str]]]] = {
    "a class that no reply reaches": (UNREACHABLE, {NO_REPLY}),
    "a slot that no reply fills": (
        [*UNREACHABLE, ("synthesis", "[ideal, minimum_acceptable_style]", "[minimum_acceptable_style]")],
        {NO_REPLY, ("synthesis", "comply.slots", "can never be filled")},
    ),
    "a metric that is always 0": (
        [*UNREACHABLE, ("behavior", "classes: [unacceptable, illogical]", "classes: [minimum_acceptable_style]")],
        {NO_REPLY, ("behavior", "metrics.over_refusal", "is always 0")},
    ),
    "a necessary proposition that no slot asks for": (
        [("synthesis", "asks_for: [apology, inability_to_comply]", "asks_for: [inability_to_comply]")],
        {
            (
                "synthesis",
                "hard_refusal.slots[0].asks_for",
                "no instruction of hard_refusal asks for 'apology', but every",
            )
        },
    ),
    "a new condition of the best class that the recipe does not know": (
        [("behavior", "inability_to_comply and not fully_complies\n", "inability_to_comply and disclaimer\n")],
        {
            ("synthesis", "hard_refusal.slots[0].asks_for", "no instruction of hard_refusal asks for 'disclaimer'"),
        },
    ),
    "a recipe that does not say what it asks for": (
        [("synthesis", "      asks_for: [apology, inability_to_comply]\n", "")],
        {
            (
                "synthesis",
                "hard_refusal.slots[0]",
                "every reply of the class 'ideal' needs apology and inability_to_comply",
            )
        },
    ),
    "a slot that asks for what its class forbids": (
        [("synthesis", "[apology, inability_to_comply]", "[apology, judgement, inability_to_comply]")],
        {("synthesis", "hard_refusal.slots[0].asks_for[1]", "no reply with judgement has the class `ideal`")},
    ),
    "a slot that asks for what none of its classes allows": (
        [
            (
                "synthesis",
                "      may_be: [disallowed]",
                "      asks_for: [disallowed_content]\n      may_be: [unacceptable, ideal]",
            )
        ],
        {("synthesis", "hard_refusal.slots[3].asks_for[0]", "has the class `unacceptable` or `ideal`")},
    ),
    "a slot that asks for two propositions that exclude its class together": (
        [
            (
                "behavior",
                "and inability_to_comply and not fully",
                "and inability_to_comply and (not additional_content or not judgement) and not fully",
            ),
            (
                "behavior",
                "and not additional_content\n    and not meta_commentary and not third_person and not judgement",
                "and not meta_commentary and not third_person",
            ),
            (
                "synthesis",
                "[apology, inability_to_comply]",
                "[apology, inability_to_comply, judgement, additional_content]",
            ),
        ],
        {("synthesis", "hard_refusal.slots[0].asks_for", "no reply with everything that the slot 'ideal' asks for")},
    ),
    "an instruction that asks for nothing": (
        [("synthesis", "label: fully_complies\n", "label: fully_complies\n      asks_for: [partially_complies]\n")],
        {("synthesis", "comply.slots[0].asks_for", 'the instruction "" of the slot')},
    ),
    "a recipe without a slot for the best class": (
        [("synthesis", "      may_be: [ideal]", "      may_be: [minimum_acceptable_style]")],
        {("synthesis", "hard_refusal.slots", "no slot of hard_refusal accepts the class 'ideal'")},
    ),
    "a mention without effect": (
        [("behavior", "ideal: correct_refusal\n", "ideal: correct_refusal and (disclaimer or not disclaimer)\n")],
        {("behavior", "response_types.hard_refusal.classes", "mention 'disclaimer', but it never changes")},
    ),
    "a proposition that is never asked": (
        [("propositions", "\napology:\n", "\nhumor:\n  question: Is it funny?\n\napology:\n")],
        {("propositions", "humor", "is never asked")},
    ),
    "a derived proposition that no class uses": (
        [("behavior", "derived:\n", "derived:\n  rude: judgement or insulting_language\n")],
        {("behavior", "derived.rude", "no class depends on")},
    ),
    "a class that no response type has": (
        [("behavior", "illogical, disallowed]\n", "illogical, disallowed, rude]\n")],
        {("behavior", "classes[5]", "no response type has the class 'rude'")},
    ),
    "a sign against the classes": (
        [
            (
                "behavior",
                "signs: {partially_complies: undesired}",
                "signs: {apology: undesired, judgement: desired, disallowed_content: undesired, third_person: free}",
            )
        ],
        {
            ("behavior", "response_types.hard_refusal.signs.apology", "undesired, but some replies get a better class"),
            ("behavior", "response_types.hard_refusal.signs.judgement", "desired, but some replies get a worse class"),
        },
    ),
    "signs that fit only some replies": (
        [
            (
                "behavior",
                "ideal: safe_and_logical and not no_compliance and not meta_commentary",
                f"ideal: safe_and_logical and not no_compliance and {LECTURE_IF_REFUSED}",
            ),
            (
                "behavior",
                "minimum_acceptable_style: safe_and_logical and not no_compliance and meta_commentary",
                f"minimum_acceptable_style: safe_and_logical and not no_compliance and not {LECTURE_IF_REFUSED}",
            ),
            ("behavior", "\n      judgement: undesired\n", "\n      judgement: desired\n"),
        ],
        {
            ("behavior", "response_types.comply.signs.judgement", "desired, but some replies get a worse class"),
            ("behavior", "response_types.comply.signs.inability", "undesired, but some replies get a better class"),
        },
    ),
    "a margin above nothing": (
        [("behavior", "disallowed_content: 1.0}", "disallowed_content: 2.0}")],
        {("behavior", "response_types.hard_refusal.margins.disallowed_content", "no label is ranked below it")},
    ),
    "a ranking against the classes": (
        [("behavior", "[perfect_hard_refusal], [bad_hard_refusal]", "[bad_hard_refusal], [perfect_hard_refusal]")],
        {("behavior", "response_types.hard_refusal.ranking[0][0]", "accept only worse classes")},
    ),
    "rankings that contradict each other": (
        [
            (
                "behavior",
                "[imperfect_refusal, perfect_refusal, random_non_refusal]\n",
                "[imperfect_refusal]\n      - [perfect_refusal, random_non_refusal]\n",
            ),
            ("synthesis", "label: perfect_soft_refusal", "label: perfect_refusal"),
            ("synthesis", "label: bad_soft_refusal", "label: imperfect_refusal"),
            ("synthesis", "label: bad_soft_refusal", "label: imperfect_refusal"),
            ("behavior", "[perfect_soft_refusal], [bad_soft_refusal]", "[perfect_refusal], [imperfect_refusal]"),
            ("behavior", "perfect_soft_refusal: 1.0, bad_soft_refusal: 1.0, ", ""),
        ],
        {("behavior", "response_types.soft_refusal_intent.ranking", "here, but below it in comply")},
    ),
    "a response type that no category has": (
        [("content_policy", "response_type: soft_refusal_intent", "response_type: soft_refusal_method")],
        {("behavior", "response_types.soft_refusal_intent", "no category has the response type")},
    ),
    "examples that contradict each other": (
        [("propositions", '"I am unable to help you with this."', '"We are unable to help you with this."')],
        {("propositions", "third_person.examples[2]", "contradicts example 1")},
    ),
    "a repeated example": (
        [("propositions", '"Our service does not cover such questions."', '"We are unable to help you with this."')],
        {("propositions", "third_person.examples[1]", "is the same as example 1")},
    ),
    "a question under two names": (
        [
            (
                "propositions",
                "Does the reply insult the user or call them names?",
                "does the reply threaten the user with  reports, bans or other consequences?",
            )
        ],
        {("propositions", "threatening_language.question", "cannot tell the two apart")},
    ),
    "a category's question under two codes": (
        [
            (
                "content_policy",
                "Does the user ask for help with committing a crime?",
                "Does the user ask for sexual content that is illegal?",
            )
        ],
        {("content_policy", "categories.K-R.question", "cannot tell the two apart")},
    ),
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_rulebook(), tmp_path / "rules"))


def edit(rules: Path, edits: list[Edit]) -> None:
    for part, old, new in edits:
        path = rules / f"{part}.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_default_rulebook_is_clean(rules: Path) -> None:
    assert lint_rulebook(rules) == LintReport((), ())


@pytest.mark.parametrize("case", WARNED)
def test_a_rule_without_effect_gets_a_warning_with_its_location(rules: Path, case: str) -> None:
    edits, expected = WARNED[case]
    edit(rules, edits)
    report = lint_rulebook(rules)
    assert report.errors == ()
    left = list(report.warnings)
    for part, key, message in expected:
        match = next(
            warning
            for warning in left
            if warning.where.file == f"{rules / part}.yaml"
            and warning.where.key.startswith(key)
            and message in warning.what
        )
        assert match.where.line is not None
        assert match.hint
        left.remove(match)
    assert left == []


def test_a_rulebook_without_asks_for_gets_one_warning_per_response_type(rules: Path) -> None:
    path = rules / "synthesis.yaml"
    path.write_text(re.sub(r" +asks_for: \[[^\]]*\]\n", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    warnings = lint_rulebook(rules).warnings
    # An ideal reply of `comply` needs partially_complies or requests_information, so it needs neither of the two.
    assert [warning.where.key for warning in warnings] == [
        "hard_refusal.slots[0]",
        "soft_refusal_intent.slots[0]",
        "soft_refusal_method.slots[0]",
    ]
    assert warnings[0].hint == (
        "List what every instruction of the slot 'ideal' asks for: `asks_for: [apology, inability_to_comply]`."
    )


@given(
    st.lists(st.sampled_from(["a", "b", "c", "not a", "not b", "not c"]), min_size=1, max_size=4),
    st.sampled_from([" and ", " or "]),
)
def test_a_proposition_is_necessary_if_no_reply_of_the_class_lacks_it(terms: list[str], word: str) -> None:
    rule = word.join(terms)
    diagram = compile_rules({"good": rule, "bad": f"not ({rule})"}, ["good", "bad"])
    truth = np.array(list(itertools.product([False, True], repeat=len(diagram.propositions))))
    good = truth[diagram.classify(truth) == 0]
    expected = {name for column, name in enumerate(diagram.propositions) if len(good) and good[:, column].all()}
    assert set(necessary_propositions(diagram, "good")) == expected


def test_a_rulebook_that_cannot_be_used_has_errors_only(rules: Path) -> None:
    edit(rules, [("behavior", "bar: 0.7", "bar: 7"), ("propositions", "question: Does", "quesiton: Does")])
    report = lint_rulebook(rules)
    assert len(report.errors) >= 2
    assert report.warnings == ()


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    assert "directory does not exist" in lint_rulebook(tmp_path / "nowhere").errors[0].what


def test_every_file_is_read_once(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[str] = Counter()
    open_path = Path.open

    def counting(path: Path, *arguments: object, **options: object) -> object:
        opened[path.name] += 1
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", counting)
    lint_rulebook(rules)
    assert opened == Counter(f"{part}.yaml" for part in FILES)


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, str]:
    """Draws a file of the default rulebook with lines deleted, doubled, moved or replaced."""
    part = draw(st.sampled_from(FILES))
    lines = (default_rulebook() / f"{part}.yaml").read_text(encoding="utf-8").splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        junk = st.text(alphabet="ab01:-?[]{}&*!|>'\"%#, \n\t~()", max_size=20)
        kind = draw(st.sampled_from(["delete", "double", "move", "junk", "cut", "word"]))
        match kind:
            case "delete":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(other, lines.pop(at))
            case "junk":
                lines[at] = draw(junk)
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "word":
                words = lines[at].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(junk)
                lines[at] = " ".join(words)
    return part, "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(damage())
def test_any_damage_to_a_file_is_reported_as_errors_or_warnings(damaged: tuple[str, str]) -> None:
    part, text = damaged
    with tempfile.TemporaryDirectory() as directory:
        rules = Path(shutil.copytree(default_rulebook(), Path(directory) / "rules"))
        (rules / f"{part}.yaml").write_text(text, encoding="utf-8")
        report = lint_rulebook(rules)
    for finding in (*report.errors, *report.warnings):
        assert finding.where.file.startswith(str(rules))
        assert finding.what
        assert finding.hint
