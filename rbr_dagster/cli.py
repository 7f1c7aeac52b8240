"""The `rbr` command."""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbr.errors import InputError
from rbr_dagster.environment import Environment, check_profile, from_environment

if TYPE_CHECKING:
    from resources.store import Store

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Profile = Annotated[str | None, typer.Option(help="Name of a profile in profiles/, or a YAML file.")]
Rulebook = Annotated[str | None, typer.Option(help="Directory of the rulebook.")]

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@app.callback()
def rbr() -> None:
    """Rule Based Rewards for language-model safety, as a Dagster pipeline."""


@app.command()
def plan(
    profile: Profile = None,
    rulebook: Rulebook = None,
    as_object: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Say what `rbr run` would make, why, and what it would cost; change nothing."""
    _show_plan(from_environment(profile, rulebook), None, as_object)


@app.command()
def run(
    profile: Profile = None,
    rulebook: Rulebook = None,
    only: Annotated[str | None, typer.Option(help="One asset; it and all it is made from.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan instead.")] = False,
) -> None:
    """Bring every asset up to date; only what an edit reaches is made again."""
    if dry_run:
        _show_plan(from_environment(profile, rulebook), only, as_object=False)
        return
    from rbr_dagster.run.driver import RunFailed, bring_up_to_date, check_sources, select
    from rbr_dagster.run.terminal import Terminal
    from rbr_dagster.views.results import as_tables, current_metrics
    from resources.artifacts import Artifacts

    environment = from_environment(profile, rulebook)
    check_sources(environment)
    graph = select(environment, only)
    terminal = Terminal(environment.home / "progress", environment.home / "logs" / "run.log")
    started = time.monotonic()
    try:
        with terminal.quiet():
            made = bring_up_to_date(environment, graph, terminal)
    except RunFailed as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(EXIT_INPUT if error.is_input else EXIT_FAILED) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. What was made stays; the next run goes on from there.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    summary = f"{made} assets made" if made else "Everything is up to date"
    terminal.console.print(f"{summary}, {_minutes(time.monotonic() - started)}.\n", highlight=False)
    terminal.console.print(as_tables(current_metrics(_store(environment))))
    typer.echo(f"Report   {Artifacts(home=str(environment.home)).report}")
    typer.echo(f"UI       {'make ui' if Path('Makefile').exists() else 'rbr ui'}")


@app.command()
def metrics(
    as_objects: Annotated[bool, typer.Option("--json", help="A JSON list of objects.")] = False,
) -> None:
    """Show the evaluation of the current checkpoints."""
    from rich.console import Console

    from rbr_dagster.views.results import as_json, as_tables, current_metrics

    environment = from_environment()
    rows = current_metrics(_store(environment))
    if rows.is_empty():
        raise InputError("there is no evaluation yet", where=str(environment.home), hint="Start with `rbr run`.")
    if as_objects:
        typer.echo(as_json(rows))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(as_tables(rows))


@app.command()
def lint(
    directory: Annotated[Path | None, typer.Argument(help="A rulebook; default: the one in use.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there are warnings.")] = False,
    as_object: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Look through a rulebook: why it cannot be used, and what in it has no effect or contradicts itself."""
    from rbr.rulebook.lint import lint as look_through
    from rbr_dagster.views.lint import as_json, as_text

    report = look_through(directory or from_environment().rulebook)
    typer.echo(as_json(report) if as_object else as_text(report))
    if report.errors:
        raise typer.Exit(EXIT_INPUT)
    if strict and report.warnings:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="Directory of a rulebook, or a git revision of the rulebook in use.")],
    new: Annotated[str | None, typer.Argument(help="The same; default: the rulebook in use.")] = None,
    rulebook: Rulebook = None,
    as_object: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Say what two rulebooks mean differently, and which stored replies change their class; run no model."""
    from rich.console import Console

    from rbr_dagster.diff.compare import compare
    from rbr_dagster.diff.revisions import load_either
    from rbr_dagster.diff.view import as_json, as_text

    environment = from_environment(rulebook=rulebook)
    sides = [load_either(place, environment.rulebook) for place in (old, new or str(environment.rulebook))]
    found = compare(environment.home, *sides)
    if as_object:
        typer.echo(as_json(found))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(found))


@app.command()
def explain(
    completion: Annotated[str | None, typer.Argument(help="Id of a stored completion, or its beginning.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The user's turn, instead of a stored completion.")] = None,
    reply: Annotated[str | None, typer.Option(help="The assistant's reply to it.")] = None,
    category: Annotated[str | None, typer.Option(help="Content category; else the grader finds it.")] = None,
    as_object: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Take the reward of one reply apart: grades, class, and R_tot term by term."""
    if (completion is None) == (prompt is None or reply is None):
        raise InputError("nothing to explain", hint="Give a completion's id, or both --prompt and --reply.")
    from rich.console import Console

    from rbr_dagster.explain.explain import explain_completion, explain_text
    from rbr_dagster.explain.view import as_json, as_text

    environment = from_environment()
    if completion is not None:
        explained = explain_completion(environment, completion)
    else:
        explained = explain_text(environment, prompt or "", reply or "", category)
    if as_object:
        typer.echo(as_json(explained))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(explained))


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="Where to; must not exist, or be empty.")]) -> None:
    """Copy the default rulebook, to edit it."""
    from rbr.rulebook import default_rulebook

    _check_free(directory)
    shutil.copytree(default_rulebook(), directory, dirs_exist_ok=True)
    typer.echo(f"Edit the files in {directory}, then: rbr run --rulebook {directory}")


@app.command()
def import_openai(
    file: Annotated[Path, typer.Argument(help="The rule file that the paper's authors released.")],
    directory: Annotated[Path, typer.Argument(help="Where to; must not exist, or be empty.")],
) -> None:
    """Turn the published rules into a rulebook."""
    from rbr.rulebook.released_rules import import_release

    _check_free(directory)
    import_release(file, directory)
    typer.echo(f"Wrote {directory}. Next: rbr lint {directory}")


@app.command()
def classify(
    gold: Annotated[Path, typer.Argument(help="JSON Lines of labeled replies, ours or as the authors released.")],
    rulebook: Rulebook = None,
    as_object: Annotated[bool, typer.Option("--json", help="A JSON object with every row.")] = False,
) -> None:
    """Say into which class each labeled reply falls, by its labels and the rules."""
    from rich.console import Console

    from rbr.classes.classification import gold_classes
    from rbr.conversation import read_gold
    from rbr.rulebook import load_rulebook
    from rbr_dagster.views.classify import as_json, as_table

    rules = load_rulebook(from_environment(rulebook=rulebook).rulebook)
    rows = gold_classes(read_gold(gold), rules, where=str(gold))
    if as_object:
        typer.echo(as_json(rows, rules.behavior))
    else:
        Console(soft_wrap=True).print(as_table(rows, rules.behavior))


@app.command()
def ui(
    profile: Profile = None,
    rulebook: Rulebook = None,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI and the MLflow UI on loopback."""
    from rbr_dagster.ui import serve

    environment = from_environment(profile, rulebook)
    check_profile(environment.profile)
    environment.prepare()
    raise typer.Exit(serve(environment, dagster_port, mlflow_port))


def main() -> None:
    """Entry point: input errors end with status 2 and their message, without a traceback."""
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_INPUT)


def _check_free(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError("is there already", where=str(directory), hint="Name a directory that does not exist.")


def _show_plan(environment: Environment, only: str | None, as_object: bool) -> None:
    from rich.console import Console

    from rbr_dagster.plan.plan import make_plan
    from rbr_dagster.plan.view import as_json, as_text

    made = make_plan(environment, only)
    if as_object:
        typer.echo(as_json(made))
    else:
        Console(soft_wrap=True, highlight=False).print(as_text(made))


def _store(environment: Environment) -> "Store":
    from resources.store import Store

    return Store(path=str(environment.home / "rbr.duckdb"))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
