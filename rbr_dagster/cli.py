"""The `rbr` command.

`lint`, `classify`, `fit`, `init`, `new`, `import-openai` and `models` work from an installed wheel. The others need the
pipeline. Commands import their modules when they run, so that `rbr --help` is quick and the wheel needs no pipeline
package.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from rbr.errors import InputError, ServerAway
from rbr_dagster.command_options import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    JsonOption,
    NewDirectory,
    ProfileOption,
    RulebookOption,
    check_new_or_empty,
)
from rbr_dagster.environment import Environment, require_pipeline
from rbr_dagster.label.commands import label_commands
from rbr_dagster.models_commands import models_commands
from rbr_dagster.plain_console import plain_console
from rbr_dagster.rulebook_commands import rulebook_commands

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_PIPELINE = "Pipeline (from a clone of the repository)"

# The commands for rulebooks are in a module of their own, because they need no pipeline.
app.add_typer(rulebook_commands)
app.add_typer(label_commands, name="label", rich_help_panel=_PIPELINE)
app.add_typer(models_commands, name="models", rich_help_panel="Models")


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
    made = "1 asset made" if asset_count == 1 else f"{asset_count} assets made"
    summary = made if asset_count else "Everything is up to date"
    terminal.console.print(f"{summary}, {_duration(time.monotonic() - started)}.\n")
    rows = current_metrics(environment.store)
    if any(key.to_user_string() == "evaluation_metrics" for key in graph.specs):
        terminal.console.print(as_tables(rows))
    elif not rows.is_empty():
        # The run did not bring the evaluation up to date, so its figures may be about another policy.
        terminal.console.print(f"The evaluation is not part of `--only {only}`. `rbr metrics` shows the last one.")
    if Path(environment.artifacts.report).is_file():
        typer.echo(f"Report   {environment.artifacts.report}")
    typer.echo(f"UI       {'make ui' if Path('Makefile').exists() else 'rbr ui'}")


@app.command(rich_help_panel=_PIPELINE)
def metrics(json_output: JsonOption = False) -> None:
    """Show the evaluation metrics of the current checkpoints."""
    environment = _pipeline_environment("metrics")
    from rbr_dagster.views.metrics_view import as_json, as_tables, current_metrics

    rows = current_metrics(environment.store)
    if rows.is_empty():
        raise InputError("no checkpoint was evaluated yet", where=str(environment.home), hint="Start with `rbr run`.")
    if json_output:
        typer.echo(as_json(rows))
    else:
        plain_console().print(as_tables(rows))


@app.command(rich_help_panel=_PIPELINE)
def diff(
    old: Annotated[str, typer.Argument(help="Directory of a rulebook, or a git revision of the current rulebook.")],
    new: Annotated[str | None, typer.Argument(help="Like OLD. Default: the current rulebook.")] = None,
    rulebook: RulebookOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show how two rulebooks differ in meaning, and which stored replies change class. Runs no model."""
    environment = _pipeline_environment("diff", rulebook=rulebook)
    from rbr_dagster.diff.diff_view import as_json, as_text
    from rbr_dagster.diff.revisions import load_rulebook_or_revision
    from rbr_dagster.diff.rulebook_diff import diff_rulebooks

    old_rulebook = load_rulebook_or_revision(old, environment.rulebook)
    new_rulebook = load_rulebook_or_revision(new or str(environment.rulebook), environment.rulebook)
    difference = diff_rulebooks(environment.store, old_rulebook, new_rulebook)
    if json_output:
        typer.echo(as_json(difference))
    else:
        plain_console(soft_wrap=True).print(as_text(difference))


@app.command(rich_help_panel=_PIPELINE)
def explain(
    completion: Annotated[str | None, typer.Argument(help="Id of a stored completion, or its first letters.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A user turn, instead of a stored completion.")] = None,
    reply: Annotated[str | None, typer.Option(help="The assistant's reply to --prompt.")] = None,
    category: Annotated[
        str | None, typer.Option(help="Content category of the prompt. Default: the stored category, or the grader's.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Explain one reply: its grades, its class, and R_tot term by term. R_tot needs a fitted reward."""
    environment = _pipeline_environment("explain")
    given = (completion is not None, prompt is not None, reply is not None)
    if given not in {(True, False, False), (False, True, True)}:
        what = "no reply to explain" if completion is None else "a completion excludes --prompt and --reply"
        raise InputError(what, hint="Give the id of a completion, or both --prompt and --reply.")
    for option, text in (("--prompt", prompt), ("--reply", reply)):
        # Python reads bytes of an argument that are not UTF-8 as unpaired surrogates.
        if text is not None and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError("the text is not UTF-8", where=option, hint="Give the text as UTF-8.")
    from rbr_dagster.explain.explain_view import as_json, as_text
    from rbr_dagster.explain.explained_reply import explain_completion, explain_text

    if completion is not None:
        explained = explain_completion(environment, completion, category)
    else:
        explained = explain_text(environment, prompt or "", reply or "", category)
    if json_output:
        typer.echo(as_json(explained))
    else:
        plain_console(soft_wrap=True).print(as_text(explained))
    if not explained.is_answered:
        raise typer.Exit(EXIT_FAILED)


@app.command(rich_help_panel=_PIPELINE)
def attack(
    profile: ProfileOption = None,
    rulebook: RulebookOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of gold replies to attack.")] = 12,
    json_output: JsonOption = False,
) -> None:
    """Attack the grader with texts inside gold replies, and show how far P(yes) and the class move."""
    environment = _pipeline_environment("attack", profile, rulebook)
    from rbr_dagster.attack.attack_view import as_json, as_text
    from rbr_dagster.attack.attacked_grader import attack_grader

    result = attack_grader(environment, limit)
    if json_output:
        typer.echo(as_json(result))
    else:
        plain_console().print(as_text(result))


@app.command(rich_help_panel=_PIPELINE)
def export(directory: NewDirectory) -> None:
    """Write the fitted reward, a few prompts and a TRL training script that needs no pipeline."""
    environment = _pipeline_environment("export")
    from rbr_dagster.export.exported_reward import export_reward

    check_new_or_empty(directory)
    exported = export_reward(environment, directory)
    for name in exported.files:
        typer.echo(f"Wrote {directory / name}")
    if exported.stale_assets:
        assets = ", ".join(exported.stale_assets)
        typer.echo(f"The reward is out of date ({assets}). `rbr run --only reward` makes it again.", err=True)
    typer.echo(f"Next: python {shlex.quote(str(directory / 'train.py'))}")


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


def main() -> None:
    """Runs the command. An input error ends it with status 2 and a message, a server that is away with status 1."""
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_FAILED if isinstance(error, ServerAway) else EXIT_INPUT)


def _pipeline_environment(command: str, profile: str | None = None, rulebook: str | None = None) -> Environment:
    """Returns the environment of a command, after a check that the command can work there."""
    require_pipeline(command)
    environment = Environment.from_variables(profile, rulebook)
    environment.check_state()
    return environment


def _show_plan(environment: Environment, only: str | None, json_output: bool) -> None:
    from rbr_dagster.plan.plan import make_plan
    from rbr_dagster.plan.plan_view import as_json, as_text

    run_plan = make_plan(environment, only)
    if json_output:
        typer.echo(as_json(run_plan))
    else:
        plain_console(soft_wrap=True).print(as_text(run_plan))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
