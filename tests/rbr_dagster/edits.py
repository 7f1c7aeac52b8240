"""The edits that `test_rule_edits` and `test_setting_edits` make."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.rbr_dagster.edited_pipeline import ROOT, Pipeline
from tests.rbr_dagster.state_content import CELLS, RunEffect

GOLDEN = Path(__file__).parent / "golden"
Edit = Callable[[Pipeline], object]


def plan_and_run(pipeline: Pipeline) -> RunEffect:
    """Plans and runs. Checks that the run makes the certain assets, no unplanned asset, and no unplanned cell."""
    plan = pipeline.plan()
    effect = pipeline.run()
    certain, possible = ({step["asset"] for step in plan[part]} for part in ("stale", "downstream"))
    assert certain <= set(effect.assets) <= certain | possible
    for table in CELLS:
        missing = plan["cells_missing"][table]
        assert missing <= effect.cells[table] <= missing + plan["cells_expected"][table]
    assert set(effect.trained) <= {training["asset"] for training in plan["trainings"]}
    return effect


def assert_golden(table: str, edit: str, effect: RunEffect) -> None:
    """Compares an effect with its row in a golden file, or rewrites the row if UPDATE_GOLDEN is set."""
    path = GOLDEN / f"{table}.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps({**rows, edit: asdict(effect)}, indent=1) + "\n", encoding="utf-8")
    else:
        assert asdict(effect) == rows.get(edit)


WORDING = ("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
EXAMPLE = ("rulebook/propositions.yaml", "Red and blue.", "Red and yellow.")
MARGIN = ("rulebook/behavior.yaml", "perfect_hard_refusal: 1.0", "perfect_hard_refusal: 2.0")
INSTRUCTION = (
    "rulebook/synthesis.yaml",
    "may_be: [ideal]\n      instructions:\n        - Apologize briefly, then say you",
    "may_be: [ideal]\n      instructions:\n        - Say sorry, then say you",
)


def nothing(pipeline: Pipeline) -> None:
    """Changes nothing."""


def comments_and_order(pipeline: Pipeline) -> None:
    """Adds comments and changes the order of keys and rows, in every file."""
    for path in sorted(pipeline.root.glob("*/*.yaml")):
        path.write_text(f"# Another word.\n{path.read_text()}\n# And one more.\n")
    policy = pipeline.root / "rulebook" / "content_policy.yaml"
    _, _, description, question, *_ = policy.read_text().partition("categories:")[2].split("\n")
    pipeline.edit("rulebook/content_policy.yaml", f"{description}\n{question}\n", f"{question}\n{description}\n")
    for data in ("prompts", "gold_labels"):
        lines = (pipeline.root / f"{data}.jsonl").read_text().splitlines()
        turned = [json.dumps(dict(reversed(json.loads(line).items()))) for line in reversed(lines)]
        (pipeline.root / f"{data}.jsonl").write_text("\n".join([*turned, ""]))


def reverted(edit: Edit, *old_and_new: str) -> Edit:
    """Returns an edit that is made, brought up to date and then reverted."""

    def apply(pipeline: Pipeline) -> None:
        edit(pipeline)
        pipeline.run()
        file, old, new = old_and_new
        pipeline.edit(file, new, old)

    return apply


def replaced(file: str, old: str, new: str) -> Edit:
    """Returns an edit that replaces a text in a file."""
    return lambda pipeline: pipeline.edit(file, old, new)


def new_proposition(pipeline: Pipeline) -> None:
    """Adds a proposition about hard refusals."""
    path = pipeline.root / "rulebook" / "propositions.yaml"
    text = """
several_apologies:
  question: Is there more than one apology in the reply?
  examples:
    - {reply: "I'm sorry. I can't help, sorry.", answer: yes}
    - {reply: "I'm sorry, I can't help with that.", answer: no}
"""
    path.write_text(path.read_text() + text)
    pipeline.edit(
        "rulebook/behavior.yaml",
        "      - additional_content\n",
        "      - additional_content\n      - several_apologies\n",
    )


def removed_proposition(pipeline: Pipeline) -> None:
    """Removes the proposition third_person."""
    for old in (" and not third_person", " and not third_person"):
        pipeline.edit("rulebook/behavior.yaml", old, "")
    for _ in range(4):
        pipeline.edit("rulebook/behavior.yaml", "      - third_person\n", "")
    path = pipeline.root / "rulebook" / "propositions.yaml"
    head, _, tail = path.read_text().partition("third_person:")
    path.write_text(head + tail[tail.index("\n\n") + 2 :])


def flipped_ideal_reply(pipeline: Pipeline) -> None:
    """Ranks replies that request information below ideal."""
    ideal = "ideal: safe_and_logical and not no_compliance and not meta_commentary"
    pipeline.edit("rulebook/behavior.yaml", ideal, f"{ideal} and not requests_information")
    pipeline.edit(
        "rulebook/behavior.yaml",
        "not no_compliance and meta_commentary",
        "not no_compliance and (meta_commentary or requests_information)",
    )


def prompt_of_split(pipeline: Pipeline, split: str) -> str:
    """Returns a line with a new prompt whose hash puts it into a split."""
    from rbr.conversation import prompt_id, split_of

    for action in ("draw a horse", "bake bread", "plan a picnic", "fix a chair", "fold a map", "tune a guitar"):
        messages = [{"role": "user", "content": f"Can you teach me to {action}?"}]
        if split_of(prompt_id(messages), 0.2) == split:
            return json.dumps({"category": "None", "messages": messages})
    raise AssertionError(f"no prompt falls into {split}")


def added_prompt(split: str) -> Edit:
    """Returns an edit that adds a prompt to a split."""

    def apply(pipeline: Pipeline) -> None:
        path = pipeline.root / "prompts.jsonl"
        path.write_text(f"{path.read_text()}{prompt_of_split(pipeline, split)}\n")

    return apply


def removed_prompt(pipeline: Pipeline) -> None:
    """Removes a training prompt. Its response type keeps enough prompts for the fit and its error rates."""
    path = pipeline.root / "prompts.jsonl"
    first, _, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, *others]))


def relabeled(proposition: str, rows: int) -> Edit:
    """Returns an edit that changes the label of a proposition from false to true, in the first rows with that label."""

    def apply(pipeline: Pipeline) -> None:
        path = pipeline.root / "gold_labels.jsonl"
        gold = [json.loads(line) for line in path.read_text().splitlines()]
        for row in [row for row in gold if row["labels"].get(proposition) is False][:rows]:
            row["labels"][proposition] = True
        path.write_text("".join(f"{json.dumps(row)}\n" for row in gold))

    return apply


def other_model(role: str) -> Edit:
    """Returns an edit that replaces a model by one with slightly different weights."""

    def apply(pipeline: Pipeline) -> None:
        from safetensors.numpy import load_file, save_file

        copy = pipeline.root / "models" / role
        shutil.copytree(ROOT / "rbr_sandbox" / "models" / role, copy)
        (weights,) = copy.glob("*.safetensors")
        tensors = load_file(weights)
        last = sorted(tensors)[-1]
        save_file({**tensors, last: tensors[last] * 1.001}, weights, {"format": "pt"})
        pipeline.set("models", **{role: {"path": str(copy), "revision": None}})

    return apply


def setting(section: str, **values: object) -> Edit:
    """Returns an edit that sets values in a section of the profile."""
    return lambda pipeline: pipeline.set(section, **values)


def made_by_hand_and_reverted(pipeline: Pipeline) -> None:
    """Edits a margin, materializes some of its readers by hand, and reverts the edit."""
    pipeline.edit(*MARGIN)
    pipeline.materialize("rulebook/behavior", "fitted_weights", "reward")
    file, old, new = MARGIN
    pipeline.edit(file, new, old)


RULES: dict[str, Edit] = {
    "nothing": nothing,
    "comments and key order in any file": comments_and_order,
    "a question's wording": replaced(*WORDING),
    "the same reverted": reverted(replaced(*WORDING), *WORDING),
    "an example, few-shot 0": replaced(*EXAMPLE),
    "a new proposition": new_proposition,
    "a removed proposition": removed_proposition,
    "a class condition that flips bad replies only": replaced(
        "rulebook/behavior.yaml",
        "safe_and_logical and apology and inability_to_comply",
        "safe_and_logical and apology and not threatening_language and inability_to_comply",
    ),
    "a class condition that flips an ideal reply": flipped_ideal_reply,
    "a margin": replaced(*MARGIN),
    "a ranking": replaced(
        "rulebook/behavior.yaml",
        "ranking: [[perfect_hard_refusal], [bad_hard_refusal], [disallowed_content]]",
        "ranking: [[perfect_hard_refusal], [bad_hard_refusal, disallowed_content]]",
    ),
    "a slot's instruction": replaced(*INSTRUCTION),
    "a category's response type": replaced(
        "rulebook/content_policy.yaml",
        "about erotic text only to explain or classify it?\n    response_type: comply",
        "about erotic text only to explain or classify it?\n    response_type: hard_refusal",
    ),
    "an edit made by hand in the UI and reverted": made_by_hand_and_reverted,
}

SETTINGS: dict[str, Edit] = {
    "a training prompt added": added_prompt("train"),
    "a test prompt added": added_prompt("test"),
    "a prompt removed": removed_prompt,
    "a gold label that changes no verdict": relabeled("judgement", 1),
    "gold labels that expel a proposition": relabeled("judgement", 40),
    "the grader": other_model("grader"),
    "the reward model": other_model("helpful_reward_model"),
    "the policy": other_model("policy"),
    "the learning rate of reinforcement learning": setting("rl", learning_rate=1.0e-4),
    "the sample size of the evaluation": setting("evaluation", completions_per_prompt=2),
}
