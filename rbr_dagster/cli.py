"""The `rbr` command.

`lint`, `classify`, `init` and `import-openai` work from an installed wheel. The other commands need the pipeline.
Commands import their modules when they run, so that `rbr --help` is quick and the wheel needs no pipeline package.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from rbr.errors import InputError
from rbr_dagster.environment import Environment, require_pipeline

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_PIPELINE = "Pipeline (from a clone of the repository)"
_RULEBOOKS = "Rulebooks"

ProfileOption = Annotated[
    str | None, typer.Option(help="Name of a profile in profiles/, or path of a YAML file. Default: sandbox.")
]
RulebookOption = Annotated[str | None, typer.Option(help="Directory of the rulebook. Default: rulebook.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NewDirectory = Annotated[Path, typer.Argument(help="Directory to create. If it exists, it must be empty.")]

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
_PIPED_WIDTH = 140


@app.callback()
def rbr() -> None:
    """Rule Based Rewards for language-model safety, as a Dagster pipeline."""


@app.command(rich_help_panel=_PIPELINE)
def plan(profile: ProfileOption = None, rulebook: RulebookOption = None, json_output: JsonOption = False) -> None:
    """Show which assets `rbr run` would make, why, and what the run would cost. Changes nothing."""
    _show_plan(_pipeline_environment("plan", profile, rulebook), None, json_output)


@app.command(rich_help_panel=_PIPELINE)
def run(
    profile: ProfileOption = None,
    rulebook: RulebookOption = None,
    only: Annotated[
        str | None, typer.Option(help="Bring up to date only this asset and the assets upstream of it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")] = False,
) -> None:
    """Bring every asset up to date. After an edit, makes only the assets that the edit can change."""
    environment = _pipeline_environment("run", profile, rulebook)
    if dry_run:
        _show_plan(environment, only, json_output=False)
        return
    from rbr_dagster.run.driver import RunFailed, bring_up_to_date, read_valid_sources, select_assets
    from rbr_dagster.run.terminal import Terminal
    from rbr_dagster.views.metrics_view import as_tables, current_metrics

    contents = read_valid_sources(environment)
    graph = select_assets(environment, only)
    terminal = Terminal(Path(environment.progress.directory), environment.run_log)
    started = time.monotonic()
    try:
        with terminal.quiet():
            asset_count = bring_up_to_date(environment, contents, graph, terminal)
    except RunFailed as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(EXIT_INPUT if error.is_input else EXIT_FAILED) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. Finished assets are kept; the next run continues from there.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    summary = f"{asset_count} assets made" if asset_count else "Everything is up to date"
    terminal.console.print(f"{summary}, {_duration(time.monotonic() - started)}.\n", highlight=False)
    terminal.console.print(as_tables(current_metrics(environment.store)))
    typer.echo(f"Report   {environment.artifacts.report}")
    typer.echo(f"UI       {'make ui' if Path('Makefile').exists() else 'rbr ui'}")


@app.command(rich_help_panel=_PIPELINE)
def metrics(json_output: JsonOption = False) -> None:
    """Show the evaluation metrics of the current checkpoints."""
    environment = _pipeline_environment("metrics")
    from rich.console import Console

    from rbr_dagster.views.metrics_view import as_json, as_tables, current_metrics

    rows = current_metrics(environment.store)
    if rows.is_empty():
        raise InputError("no checkpoint was evaluated yet", where=str(environment.home), hint="Start with `rbr run`.")
    if json_output:
        typer.echo(as_json(rows))
    else:
        Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(as_tables(rows))


@app.command(rich_help_panel=_PIPELINE)
def diff(
    old: Annotated[str, typer.Argument(help="Directory of a rulebook, or a git revision of the current rulebook.")],
    new: Annotated[str | None, typer.Argument(help="Like OLD. Default: the current rulebook.")] = None,
    rulebook: RulebookOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show how two rulebooks differ in meaning, and which stored replies change class. Runs no model."""
    environment = _pipeline_environment("diff", rulebook=rulebook)
    from rich.console import Console

    from rbr_dagster.diff.diff_view import as_json, as_text
    from rbr_dagster.diff.revisions import load_rulebook_or_revision
    from rbr_dagster.diff.rulebook_diff import diff_rulebooks

    old_rulebook = load_rulebook_or_revision(old, environment.rulebook)
    new_rulebook = load_rulebook_or_revision(new or str(environment.rulebook), environment.rulebook)
    difference = diff_rulebooks(environment.store, old_rulebook, new_rulebook)
    if json_output:
        typer.echo(as_json(difference))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(difference))


@app.command(rich_help_panel=_PIPELINE)
def explain(
    completion: Annotated[str | None, typer.Argument(help="Id of a stored completion, or its first letters.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A user turn, instead of a stored completion.")] = None,
    reply: Annotated[str | None, typer.Option(help="The assistant's reply to --prompt.")] = None,
    category: Annotated[
        str | None, typer.Option(help="Content category of --prompt. Default: the grader finds it.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Explain the reward of one reply: its grades, its class, and R_tot term by term."""
    environment = _pipeline_environment("explain")
    if (completion is None) == (prompt is None or reply is None):
        raise InputError("no reply to explain", hint="Give the id of a completion, or both --prompt and --reply.")
    from rich.console import Console

    from rbr_dagster.explain.explain_view import as_json, as_text
    from rbr_dagster.explain.explained_reply import explain_completion, explain_text

    if completion is not None:
        explained = explain_completion(environment, completion)
    else:
        explained = explain_text(environment, prompt or "", reply or "", category)
    if json_output:
        typer.echo(as_json(explained))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(explained))


@app.command(rich_help_panel=_PIPELINE)
def ui(
    profile: ProfileOption = None,
    rulebook: RulebookOption = None,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI and the MLflow UI on 127.0.0.1."""
    environment = _pipeline_environment("ui", profile, rulebook)
    from rbr_dagster.ui import serve

    environment.check_profile()
    environment.prepare()
    raise typer.Exit(serve(environment, dagster_port, mlflow_port))


@app.command(rich_help_panel=_RULEBOOKS)
def init(directory: NewDirectory) -> None:
    """Copy the default rulebook into a new directory, where you can edit it."""
    from rbr.rulebook import default_rulebook

    _check_new_or_empty(directory)
    shutil.copytree(default_rulebook(), directory, dirs_exist_ok=True)
    typer.echo(f"Edit the files in {directory}, then: rbr run --rulebook {directory}")


@app.command(rich_help_panel=_RULEBOOKS)
def lint(
    directory: Annotated[Path | None, typer.Argument(help="Directory of the rulebook. Default: rulebook.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if there are warnings.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Check a rulebook. Reports errors, and rules that have no effect or contradict each other."""
    from rbr.rulebook.lint import lint_rulebook
    from rbr_dagster.views.lint_view import as_json, as_text

    report = lint_rulebook(directory or Environment.from_variables().rulebook)
    typer.echo(as_json(report) if json_output else as_text(report))
    if report.errors:
        raise typer.Exit(EXIT_INPUT)
    if strict and report.warnings:
        raise typer.Exit(EXIT_FAILED)


@app.command(rich_help_panel=_RULEBOOKS)
def classify(
    gold: Annotated[
        Path, typer.Argument(help="JSON Lines of labeled replies, in this project's format or as OpenAI released them.")
    ],
    rulebook: RulebookOption = None,
    json_output: JsonOption = False,
) -> None:
    """Classify labeled replies by their labels and the class rules, and count the replies of each class."""
    from rich.console import Console

    from rbr.classes.classification import gold_classes
    from rbr.files.data_files import load_gold_labels
    from rbr.rulebook import load_rulebook
    from rbr_dagster.views.classify_view import as_json, as_table

    rules = load_rulebook(Environment.from_variables(rulebook=rulebook).rulebook)
    rows = gold_classes(load_gold_labels(gold), rules, where=str(gold))
    if json_output:
        typer.echo(as_json(rows, rules.behavior))
    else:
        Console(soft_wrap=True).print(as_table(rows, rules.behavior))


@app.command(rich_help_panel=_RULEBOOKS)
def import_openai(
    file: Annotated[Path, typer.Argument(help="The released file config/proposition_prompts.yaml.")],
    directory: NewDirectory,
) -> None:
    """Convert the rules that OpenAI released with the paper into a rulebook."""
    from rbr.rulebook.released_rules import import_released_rules

    _check_new_or_empty(directory)
    import_released_rules(file, directory)
    typer.echo(f"Wrote {directory}. Next: rbr lint {directory}")


def main() -> None:
    """Runs the command. An input error ends it with status 2 and a message, without a traceback."""
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_INPUT)


def _pipeline_environment(command: str, profile: str | None = None, rulebook: str | None = None) -> Environment:
    """Returns the environment of a command, after a check that the command can work there."""
    require_pipeline(command)
    environment = Environment.from_variables(profile, rulebook)
    environment.check_state()
    return environment


def _check_new_or_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(
            "already exists", where=str(directory), hint="Choose a directory that is empty or does not exist."
        )


def _show_plan(environment: Environment, only: str | None, json_output: bool) -> None:
    from rich.console import Console

    from rbr_dagster.plan.plan import make_plan
    from rbr_dagster.plan.plan_view import as_json, as_text

    run_plan = make_plan(environment, only)
    if json_output:
        typer.echo(as_json(run_plan))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(run_plan))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
