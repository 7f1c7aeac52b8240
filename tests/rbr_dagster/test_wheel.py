"""The installed wheel, for a user who has no clone and no pipeline dependencies."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.rbr.rulebook.test_released_rules import RELEASE
from tests.rbr_dagster.edited_pipeline import ROOT
from tests.rbr_dagster.test_fit_command import write_tables

GOLD = ROOT / "rbr_sandbox" / "data" / "tiny_gold_labels.jsonl"
PIPELINE_PACKAGES = {"assets", "dagster", "duckdb", "mlflow", "pandera", "rbr_sandbox", "resources", "torch"}

RUN_AND_LIST_IMPORTS = """
import sys
from rbr_dagster.cli import app
app({arguments!r}, standalone_mode=False)
print(sorted({packages!r} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["init", "{tmp}/new"],
        ["lint", str(ROOT / "rulebook")],
        ["classify", str(GOLD)],
        ["fit", "{tmp}/grades.csv", "{tmp}/scores.csv", "--bootstrap", "0"],
        ["import-openai", "{tmp}/release.yaml", "{tmp}/new"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_of_the_wheel_import_no_pipeline_package(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    write_tables(tmp_path)
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    code = RUN_AND_LIST_IMPORTS.format(arguments=arguments, packages=PIPELINE_PACKAGES)
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this clone."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts directory of an environment that contains only the wheel and its core dependencies."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    scripts = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [scripts / "python", "-m", "pip", "install", "--quiet", "--constraint", constraints, str(wheel)], check=True
    )
    return scripts


def rbr(scripts: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `rbr` in a directory, without the variables of the test process."""
    hidden = ("RBR_", "DAGSTER_", "PYTHON")
    return subprocess.run(
        [scripts / "rbr", *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith(hidden)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_contains_the_data_files_and_no_pipeline(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "rbr/py.typed",
        "rbr/evaluation/report.html.jinja",
        *(f"rbr/default_rulebook/{file.name}" for file in (ROOT / "rulebook").iterdir()),
    } <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"rbr", "rbr_dagster"}


@pytest.mark.slow
def test_rulebook_commands_work_in_an_empty_directory(scripts: Path, tmp_path: Path) -> None:
    process = rbr(scripts, tmp_path, "lint")
    assert (process.returncode, process.stdout) == (0, "no errors, no warnings\n"), process.stderr

    process = rbr(scripts, tmp_path, "init", "mine")
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "mine" / "behavior.yaml").read_bytes() == (ROOT / "rulebook" / "behavior.yaml").read_bytes()

    process = rbr(scripts, tmp_path, "classify", str(GOLD), "--rulebook", "mine", "--json")
    assert process.returncode == 0, process.stderr
    assert len(json.loads(process.stdout)["rows"]) == len(GOLD.read_text(encoding="utf-8").splitlines())

    write_tables(tmp_path)
    process = rbr(scripts, tmp_path, "fit", "grades.csv", "scores.csv", "--rulebook", "mine", "--output", "fitted")
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in (tmp_path / "fitted").iterdir()) == ["certificates.csv", "weights.csv"]

    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    process = rbr(scripts, tmp_path, "import-openai", "release.yaml", "published")
    assert process.returncode == 0, process.stderr
    process = rbr(scripts, tmp_path, "lint", "published", "--json")
    assert json.loads(process.stdout)["errors"] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "plan", "metrics", "diff old", "explain", "export out", "ui"])
def test_pipeline_commands_say_in_one_line_how_to_get_the_pipeline(command: str, scripts: Path, tmp_path: Path) -> None:
    process = rbr(scripts, tmp_path, *command.split())
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert process.stderr.startswith(f"`rbr {command.split()[0]}` needs the pipeline: clone the repository")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_judge_of_the_sandbox_is_reported_as_missing(scripts: Path, tmp_path: Path) -> None:
    # The wheel declares the entry point of rbr_sandbox, which is only in a clone.
    code = "from rbr.evaluation.judges import open_judge; open_judge('sandbox')"
    process = subprocess.run(
        [scripts / "python", "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "judge 'sandbox' cannot be imported: No module named 'rbr_sandbox'" in process.stderr
