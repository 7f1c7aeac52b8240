"""Every public class and entry function of `rbr` shows in its docstring how to use it, and each example runs."""

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("rbr", "rbr_sandbox", "resources", "assets", "rbr_dagster", "bench")
TRAINS = {"rbr.training.sft", "rbr.training.grpo"}
"""Modules whose examples train a model."""


def module_files() -> dict[str, Path]:
    """Path by the name of each module of `rbr`."""
    paths = sorted((ROOT / "rbr").rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = module_files()


def package_of(module: str) -> str:
    """The stage that a module belongs to: `rbr.reward` for `rbr.reward.fit`."""
    return ".".join(module.split(".")[:2])


def definitions(module: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """The public classes and functions that a module defines."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def imported_elsewhere() -> set[tuple[str, str]]:
    """Pairs of module and name that another stage or another floor imports."""
    pairs = set()
    for path in (path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")):
        importer = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and package_of(importer) != package_of(node.module):
                pairs.update((node.module, alias.name) for alias in node.names)
    return pairs


def test_every_public_class_has_an_example() -> None:
    without = [
        f"{module}.{node.name}"
        for module in MODULES
        for node in definitions(module)
        if isinstance(node, ast.ClassDef) and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert without == []


def test_every_function_that_another_stage_or_floor_calls_has_an_example() -> None:
    imported = imported_elsewhere()
    without = [
        f"{module}.{node.name}"
        for module in MODULES
        for node in definitions(module)
        if isinstance(node, ast.FunctionDef)
        and {(module, node.name), (package_of(module), node.name)} & imported
        and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert without == []


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=pytest.mark.slow) if name in TRAINS else name for name in MODULES]
)
def test_the_examples_of_a_module_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert failed == 0
