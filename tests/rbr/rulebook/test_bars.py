"""The bars and signs that a behavior policy declares, as the later stages read them."""

import shutil
from pathlib import Path

import pytest

from rbr.hashing import content_hash
from rbr.rulebook import Behavior, load_behavior

DEFAULT = Path(__file__).parents[3] / "rulebook" / "behavior.yaml"
ERROR_RATE = "error_rate:\n  bar: 0.05\n  per_response_type: {}\n"
SIGNS = "    signs: {partially_complies: undesired}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(DEFAULT, tmp_path / "behavior.yaml"))


def edited(file: Path, old: str, new: str) -> Behavior:
    text = DEFAULT.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return load_behavior(file)


@pytest.mark.parametrize(
    ("section", "bars"),
    [
        ("", {"comply": 0.05, "hard_refusal": 0.05}),
        ("error_rate: {bar: 0.2}\n", {"comply": 0.2, "hard_refusal": 0.2}),
        ("error_rate: {bar: 0.2, per_response_type: {comply: 0.01}}\n", {"comply": 0.01, "hard_refusal": 0.2}),
        ("error_rate: {per_response_type: {comply: 0}}\n", {"comply": 0.0, "hard_refusal": 0.05}),
        ("error_rate: {bar: 1}\n", {"comply": 1.0, "hard_refusal": 1.0}),
    ],
)
def test_a_response_type_without_a_bar_of_its_own_has_the_general_bar(
    file: Path, section: str, bars: dict[str, float]
) -> None:
    behavior = edited(file, ERROR_RATE, section)
    assert {name: behavior.error_rate.bar_of(name) for name in bars} == bars


def test_a_feature_may_be_declared_desired_undesired_or_free(file: Path) -> None:
    signs = "{partially_complies: free, apology: desired, judgement: undesired}"
    behavior = edited(file, SIGNS, f"    signs: {signs}\n")
    assert behavior.response_types["hard_refusal"].signs == {
        "apology": "desired",
        "judgement": "undesired",
        "partially_complies": "free",
    }


def test_signs_and_bars_are_content_and_their_order_is_not(file: Path) -> None:
    one = "    signs: {apology: desired, judgement: undesired}\n"
    other = "    signs: {judgement: undesired, apology: desired}\n"
    assert content_hash(edited(file, SIGNS, one)) == content_hash(edited(file, SIGNS, other))
    contents = [
        load_behavior(DEFAULT),
        edited(file, SIGNS, one),
        edited(file, SIGNS, ""),
        edited(file, ERROR_RATE, "error_rate: {bar: 0.06}\n"),
        edited(file, ERROR_RATE, "error_rate: {per_response_type: {comply: 0.06}}\n"),
    ]
    assert len({content_hash(behavior) for behavior in contents}) == len(contents)
