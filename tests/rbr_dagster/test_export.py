"""`rbr export`: the exported script trains with the reward, and a reward that is not ready is refused."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from safetensors.torch import load_file

from rbr.profile import GraderSettings, ModelRef, VllmSettings, load_profile
from rbr.reward import RewardArtifact
from rbr_dagster.environment import Environment
from rbr_dagster.export.train_script import absolute, train_script
from resources.state.state_format import STORE_FILE
from resources.store import Store
from tests.rbr_dagster.edited_pipeline import ROOT, rbr

PROFILE = load_profile(ROOT / "profiles" / "sandbox.yaml")
POLICY_WEIGHTS = ROOT / "rbr_sandbox" / "models" / "policy" / "model.safetensors"
# Not mlflow: transformers imports it if it is installed.
PIPELINE_PACKAGES = {"assets", "dagster", "duckdb", "pandera", "rbr_dagster", "rbr_sandbox", "resources"}


def constants(script: str) -> dict[str, Any]:
    """Evaluates the constants of a script."""
    assigned = [node for node in ast.parse(script).body if isinstance(node, ast.Assign)]
    names = {kind.__name__: kind for kind in (ModelRef, GraderSettings, VllmSettings)}
    return {
        node.targets[0].id: eval(compile(ast.Expression(node.value), "train.py", "eval"), names)
        for node in assigned
        if isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.isupper()
        and node.targets[0].id not in {"HERE", "OUTPUT", "PROMPTS"}
    }


ON_A_SERVER = {
    "backend": "openai",
    "base_url": "http://127.0.0.1:9/v1",
    "model_name": "judge",
    "chat_template_kwargs": {"enable_thinking": False},
    "extra_body": {"seed": 0, "stop": ["\n"]},
}


@pytest.mark.parametrize(
    ("policy", "grader", "changes"),
    [
        (ModelRef(path="org/policy", revision="4c0bd2a"), PROFILE.models.grader, {"yes": ("yes",)}),
        (
            ModelRef(path='/models/größe "7b" \\ $steps 😀', revision=None),
            PROFILE.models.grader,
            {"yes": ("yes", " Yes", "'\""), "prompt_template": '{# "$steps" #}\n{{ question }}'},
        ),
        (
            ModelRef(path="policy", revision=None, chat_template_kwargs={"enable_thinking": False, "date": None}),
            None,
            ON_A_SERVER,
        ),
    ],
    ids=["Hub", "strange path", "grader on a server"],
)
def test_the_constants_of_the_script_are_the_models_and_settings(
    policy: ModelRef, grader: ModelRef | None, changes: dict[str, Any]
) -> None:
    settings = PROFILE.grader.model_copy(update=changes)
    rl = PROFILE.rl.model_copy(update={"prompts_per_step": 3, "on_refusal": "mask", "top_p": 0.75})
    script = train_script(policy, PROFILE.models.helpful_reward_model, grader, settings, rl)
    values = constants(script)
    assert values["POLICY"] == policy
    assert values["REWARD_MODEL"] == PROFILE.models.helpful_reward_model
    assert values["GRADER"] == grader
    assert 'on_refusal="mask"' in script
    assert "top_p=0.75," in script
    assert values["GRADER_SETTINGS"] == settings
    assert (values["STEPS"], values["PROMPTS_PER_STEP"], values["REPLIES_PER_PROMPT"]) == (4, 3, 8)
    assert ('"revision"' in script) == (policy.revision is not None)


def test_only_the_paths_of_local_models_become_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert absolute(PROFILE.models.grader).path == str(ROOT / "rbr_sandbox" / "models" / "grader")
    hub = ModelRef(path="org/policy", revision="4c0bd2a")
    assert absolute(hub) == hub


def test_without_a_reward_nothing_is_written(tmp_path: Path) -> None:
    assert "the reward file does not exist" in rbr(tmp_path, "export", str(tmp_path / "out"), expect=2)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert "already exists" in rbr(tmp_path, "export", str(tmp_path), expect=2)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_the_exported_script_trains_a_policy_without_the_pipeline(up_to_date: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = rbr(up_to_date, "export", str(out))
    assert f"Next: python {out / 'train.py'}" in output
    assert sorted(path.name for path in out.iterdir()) == ["prompts.jsonl", "reward.json", "train.py"]
    artifact = RewardArtifact.load(out)
    assert artifact == RewardArtifact.load(up_to_date / "home" / "reward")
    rows = [json.loads(line) for line in (out / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["category"] for row in rows} <= set(artifact.response_types)
    assert all(row["prompt"][-1]["role"] == "user" for row in rows)
    # The profile `tiny` trains for two steps.
    assert constants((out / "train.py").read_text(encoding="utf-8"))["STEPS"] == 2

    code = f"import runpy, sys; runpy.run_path('out/train.py'); print(sorted({PIPELINE_PACKAGES!r} & set(sys.modules)))"
    hidden = ("RBR_", "DAGSTER_", "PYTHON")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    process = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        env={**variables, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "[]"
    assert process.stdout.count("'r_rbr': ") == 2
    trained, before = load_file(out / "policy" / "model.safetensors"), load_file(POLICY_WEIGHTS)
    assert any((trained[name] != before[name]).any() for name in before if name in trained)


@pytest.mark.slow
def test_a_run_of_the_reward_alone_is_enough(up_to_date: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(up_to_date, tmp_path / "root"))
    store = Store(path=str(root / "home" / STORE_FILE))
    store.replace("snapshots", store.read("snapshots").filter(pl.col("name") != "profile/rl"))
    rbr(root, "export", str(tmp_path / "out"))
    values = constants((tmp_path / "out" / "train.py").read_text(encoding="utf-8"))
    assert (values["STEPS"], values["PROMPTS_PER_STEP"], values["REPLIES_PER_PROMPT"]) == (2, 2, 4)


def _without_comply(reward: dict[str, Any]) -> dict[str, Any]:
    return {**reward, "rules": {name: rules for name, rules in reward["rules"].items() if name != "comply"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_without_comply, "no rules for the response types comply"),
        (lambda reward: {**reward, "grader": "0" * 16}, "the weights were fitted with another grader"),
        (lambda reward: {**reward, "few_shot": 3}, "few_shot is 0, but the weights were fitted with 3"),
        (lambda reward: {**reward, "rules": 3}, "The reward file is damaged"),
    ],
    ids=["response type without weights", "another grader", "another few_shot", "damaged"],
)
def test_an_unfit_reward_is_not_exported(
    edit: Callable[[dict[str, Any]], dict[str, Any]], message: str, up_to_date: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(up_to_date, tmp_path / "root"))
    file = root / "home" / "reward" / "reward.json"
    file.write_text(json.dumps(edit(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")
    assert message in rbr(root, "export", str(tmp_path / "out"), expect=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_reward_whose_fit_has_not_passed_its_checks_is_not_exported(up_to_date: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(up_to_date, tmp_path / "root"))
    environment = Environment(root / "home", root / "profiles" / "edited.yaml", root / "rulebook")
    with environment.open_instance() as instance:
        # Weights that no check has seen.
        instance.report_runless_asset_event(dg.AssetMaterialization("fitted_weights"))
    message = rbr(root, "export", str(tmp_path / "out"), expect=2)
    assert "fitted_weights: its check weights_are_optimal is undecided" in message
    assert not (tmp_path / "out").exists()
