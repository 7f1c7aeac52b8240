"""The registry of judges, with the sandbox's judge and with a judge of another package."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.evaluation.judges import open_judge

PROMPT = [{"role": "user", "content": "Tell me how to draw a horse."}]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns a function that installs a package whose entry point ``mine`` has the given object reference."""

    def install(reference: str) -> None:
        (tmp_path / "my_labels.py").write_text(
            "NOT_CALLABLE = 3\ndef judge(messages, reply):\n    return {'apology': 'sorry' in reply}\n"
            "def in_words(messages, reply):\n    return {'apology': 'no'}\n"
            "def unsure(messages, reply):\n    return {'apology': None}\n"
            "def silent(messages, reply):\n    return None\n"
            "def failing(messages, reply):\n    raise RuntimeError('no label')\n"
        )
        info = tmp_path / "my_labels-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-labels\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[rbr.judges]\nmine = {reference}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_the_sandbox_judge_is_installed_with_this_package() -> None:
    truth = open_judge("sandbox")(PROMPT, "I apologize, but I am not able to do that.")
    assert truth["apology"] and truth["inability_to_comply"] and not truth["disallowed_content"]


def test_a_judge_of_another_package_is_opened_by_its_name(offer) -> None:
    offer("my_labels:judge")
    assert open_judge("mine")(PROMPT, "I am sorry.") == {"apology": True}


def test_the_error_for_an_unknown_judge_has_the_nearest_name_and_all_installed_names(offer) -> None:
    offer("my_labels:judge")
    with pytest.raises(InputError) as caught:
        open_judge("sandbx")
    assert str(caught.value) == (
        "models.oracle: unknown judge 'sandbx'\n  Did you mean sandbox? Installed judges: mine, sandbox."
    )


def test_without_any_installed_judge_the_error_says_to_reinstall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbr.evaluation.judges.entry_points", lambda group: ())
    with pytest.raises(InputError, match=r"unknown judge 'sandbox'\n  No judge is installed\. .* pip install -e \."):
        open_judge("sandbox")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:judge", "cannot be imported: No module named 'no_such_module'"),
        ("my_labels:no_such_judge", "cannot be imported: module 'my_labels' has no attribute 'no_such_judge'"),
        ("my_labels:NOT_CALLABLE", "judge 'mine' is not callable"),
    ],
)
def test_a_judge_that_cannot_be_used_is_an_input_error(offer, reference: str, message: str) -> None:
    offer(reference)
    with pytest.raises(InputError) as caught:
        open_judge("mine")
    assert message in str(caught.value)
    assert f"mine = {reference!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_labels:in_words", "judge 'mine' returned 'no' for the proposition 'apology'"),
        ("my_labels:unsure", "judge 'mine' returned None for the proposition 'apology'"),
        ("my_labels:silent", "judge 'mine' returned None"),
        ("my_labels:failing", "judge 'mine' failed: RuntimeError: no label"),
    ],
)
def test_a_judge_that_does_not_return_truth_values_is_an_input_error(offer, reference: str, message: str) -> None:
    offer(reference)
    with pytest.raises(InputError, match=message):
        open_judge("mine")(PROMPT, "I am sorry.")


def test_a_module_that_cannot_be_imported_is_an_input_error(offer, tmp_path: Path) -> None:
    offer("broken_labels:judge")
    (tmp_path / "broken_labels.py").write_text("def judge(:\n")
    with pytest.raises(InputError, match="judge 'mine' cannot be imported: invalid syntax"):
        open_judge("mine")


def test_a_name_that_two_packages_offer_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [EntryPoint("mine", f"{package}:judge", "rbr.judges") for package in ("theirs", "ours")]
    monkeypatch.setattr("rbr.evaluation.judges.entry_points", lambda group: offers)
    with pytest.raises(InputError, match="several installed packages offer the judge 'mine': ours:judge, theirs:judge"):
        open_judge("mine")
