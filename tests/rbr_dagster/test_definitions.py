"""The code location: its asset graph equals the golden file, and loading it imports no model library.

After an intended change of the graph, rewrite the golden file and read its diff:

    UPDATE_GOLDEN=1 python -m pytest tests/rbr_dagster/test_definitions.py
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from rbr_dagster import definitions
from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from resources.state.state_format import STORE_FILE

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "graph.json"
HEAVY = {"accelerate", "datasets", "matplotlib", "mlflow", "tokenizers", "torch", "transformers", "trl", "vllm"}
CHECKS_PAGE = ROOT / "docs" / "checks.md"
BASELINES = ("helpful", "human")

defs = build_definitions(Environment.from_variables())
SPECS = {
    spec.key.to_user_string(): spec
    for asset in defs.assets or []
    if isinstance(asset, dg.AssetsDefinition)
    for spec in asset.specs
}
CHECKS = {
    name: sorted(
        spec.name
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
        if spec.asset_key.to_user_string() == name
    )
    for name in SPECS
}


CHECK_SPECS = {
    (spec.asset_key.to_user_string(), spec.name): spec
    for asset in defs.assets or []
    if isinstance(asset, dg.AssetsDefinition)
    for spec in asset.check_specs
}


def graph() -> dict[str, dict]:
    """Returns what the golden file should contain: group, code version, parents and checks of each asset, by name."""
    return {
        name: {
            "group": spec.group_name,
            "code_version": spec.code_version,
            "depends_on": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "checks": CHECKS[name],
        }
        for name, spec in sorted(SPECS.items())
    }


def upstream(name: str) -> set[str]:
    """Returns all ancestors of an asset."""
    ancestors: set[str] = set()
    waiting = [name]
    while waiting:
        parents = {dep.asset_key.to_user_string() for dep in SPECS[waiting.pop()].deps} - ancestors
        ancestors |= parents
        waiting += parents
    return ancestors


def test_the_graph_equals_the_golden_file() -> None:
    text = json.dumps(graph(), indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == json.loads(text)
    assert GOLDEN.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", SPECS)
def test_every_asset_has_a_description_a_group_and_a_code_version(name: str) -> None:
    spec = SPECS[name]
    assert spec.description, "the UI shows the description"
    assert spec.group_name not in (None, "default")
    assert spec.code_version is not None and spec.code_version.isdigit()


def test_the_page_about_checks_lists_every_check_and_whether_it_stops_the_pipeline() -> None:
    rows = [line.split("|")[1:-1] for line in CHECKS_PAGE.read_text(encoding="utf-8").splitlines() if "| `" in line]
    listed = [(asset.strip(" `"), check.strip(" `"), effect.strip()) for asset, check, effect, _, _ in rows]
    defined = [(*names, "stops" if spec.blocking else "warns") for names, spec in CHECK_SPECS.items()]
    assert sorted(listed) == sorted(defined)


@pytest.mark.parametrize("names", CHECK_SPECS, ids=lambda names: names[1])
def test_every_check_says_its_bar(names: tuple[str, str]) -> None:
    assert CHECK_SPECS[names].description


def test_every_dependency_is_an_asset_of_this_location() -> None:
    parents = {dep.asset_key.to_user_string() for spec in SPECS.values() for dep in spec.deps}
    assert parents <= set(SPECS)


def test_snapshots_are_the_only_assets_that_read_files() -> None:
    # checked_prompts names the lines of prompts that a model cannot read. Its table and data version have no lines.
    roots = {name for name, spec in SPECS.items() if not spec.deps}
    assert roots == {name for name, spec in SPECS.items() if spec.group_name == "snapshots"}
    for asset in defs.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        names = {spec.key.to_user_string() for spec in asset.specs}
        reads_files = {spec.group_name for spec in asset.specs} == {"snapshots"} or names == {"checked_prompts"}
        assert ("sources" in asset.required_resource_keys) == reads_files


@pytest.mark.parametrize("variant", BASELINES)
def test_a_baseline_depends_on_the_content_policy_only(variant: str) -> None:
    rules = {name for name in upstream(f"rl_checkpoint/{variant}") if name.startswith("rulebook/")}
    # The longest instruction decides only whether a prompt fits into the policy's context.
    assert rules == {"rulebook/content_policy", "rulebook/longest_texts"}
    assert rules & {dep.asset_key.to_user_string() for dep in SPECS[f"rl_checkpoint/{variant}"].deps} == set()


def test_an_edit_of_ranks_margins_or_bars_makes_no_grade_stale() -> None:
    model_assets = {name for name, spec in SPECS.items() if spec.tags.get("rbr/compute") == "model"}
    readers = {name for name in model_assets if "rulebook/behavior" in upstream(name)}
    # These assets train a policy or evaluate it. No other asset that runs a model depends on behavior.yaml.
    assert readers == {"sft_checkpoint", "rl_checkpoint/rbr", "evaluation_completions/rbr", "evaluation_grades"}


@pytest.mark.parametrize("variant", BASELINES)
def test_no_baseline_depends_on_the_response_types_of_prompts(variant: str) -> None:
    assert upstream(f"rl_checkpoint/{variant}").isdisjoint({"prompt_counts", "profile/fit", "profile/synthesis"})


def test_no_test_prompt_reaches_a_training() -> None:
    for name in ("sft_checkpoint", "reward", *(f"rl_checkpoint/{variant}" for variant in ("rbr", *BASELINES))):
        assert "test_prompts" not in upstream(name)


def test_every_required_resource_is_provided() -> None:
    dg.Definitions.validate_loadable(defs)
    needed = {key for asset in defs.assets or [] for key in asset.required_resource_keys}  # type: ignore[union-attr]
    assert needed - {"io_manager"} <= set(defs.resources or {})


def test_there_is_a_job_of_all_assets() -> None:
    job = defs.resolve_job_def(definitions.EVERYTHING)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(SPECS)


def test_loading_imports_no_model_library_and_touches_no_state(tmp_path: Path) -> None:
    home = tmp_path / "state"
    code = f"import sys; from rbr_dagster.definitions import defs\ndefs(); print(sorted({HEAVY!r} & set(sys.modules)))"
    environment = {**os.environ, "RBR_HOME": str(home), "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
    assert not home.exists()


def test_importing_the_code_location_reads_no_variable(tmp_path: Path) -> None:
    elsewhere = Environment(tmp_path / "home", tmp_path / "profile.yaml", tmp_path / "rulebook")
    resources = build_definitions(elsewhere).resources or {}
    assert resources["store"].path == str(tmp_path / "home" / STORE_FILE)
    assert resources["sources"].profile == str(tmp_path / "profile.yaml")
    # The definitions are built when the function is called, not when the module is imported.
    assert not isinstance(definitions.defs, dg.Definitions)


def test_the_code_location_defines_no_asset_itself() -> None:
    tree = ast.parse(Path(definitions.__file__).read_text(encoding="utf-8"))
    functions = [item for item in ast.walk(tree) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [function.name for function in functions if function.decorator_list] == ["defs"]
    called = {ast.unparse(item.func) for item in ast.walk(tree) if isinstance(item, ast.Call)}
    assert not called & {"dg.asset", "dg.multi_asset", "dg.op", "dg.AssetSpec", "dg.asset_check"}
    assert not [item for item in ast.walk(tree) if isinstance(item, ast.ClassDef | ast.For | ast.While)]
