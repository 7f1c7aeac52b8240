"""The commands of `rbr` that read and write rulebooks and tables. They work from an installed wheel."""

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

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
from rbr_dagster.environment import Environment
from rbr_dagster.plain_console import plain_console

PANEL = "Rulebooks"

rulebook_commands = typer.Typer()

new = typer.Typer(no_args_is_help=True, help="Add an entry to a rulebook.")
rulebook_commands.add_typer(new, name="new", rich_help_panel=PANEL)


@rulebook_commands.command(rich_help_panel=PANEL)
def init(directory: NewDirectory) -> None:
    """Copy the default rulebook into a new directory, where you can edit it."""
    from rbr.rulebook import default_rulebook

    check_new_or_empty(directory)
    shutil.copytree(default_rulebook(), directory, dirs_exist_ok=True)
    typer.echo(f"Edit the files in {directory}, then: rbr run --rulebook {directory}")


@new.command()
def proposition(
    name: Annotated[str, typer.Argument(help="Name of the proposition, such as mentions_helpline.")],
    rulebook: RulebookOption = None,
    response_type: Annotated[
        list[str] | None,
        typer.Option(help="Response type whose replies the proposition is about; may be repeated. Default: all."),
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """Insert a new proposition into the files of a rulebook, and show what is left to fill in."""
    from rbr.files.profile_document import read_profile_document
    from rbr.rulebook.new_proposition import add_proposition
    from rbr_dagster.views.new_proposition_view import as_text

    environment = Environment.from_variables(profile, rulebook)
    if profile is not None:
        environment.check_profile()
    # The wheel contains no profile. The command works without one.
    document = read_profile_document(environment.profile) if environment.profile.is_file() else None
    steps = add_proposition(name, environment.rulebook, response_type or (), document)
    typer.echo(as_text(steps, environment.rulebook))


@rulebook_commands.command(rich_help_panel=PANEL)
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


@rulebook_commands.command(rich_help_panel=PANEL)
def classify(
    gold: Annotated[
        Path, typer.Argument(help="JSON Lines of labeled replies, in this project's format or as OpenAI released them.")
    ],
    rulebook: RulebookOption = None,
    json_output: JsonOption = False,
) -> None:
    """Classify labeled replies by their labels and the class rules, and count the replies of each class."""
    from rbr.classes.checked_gold import load_gold_rows
    from rbr.classes.classification import gold_classes
    from rbr.rulebook import load_rulebook
    from rbr.thoughts import thought_notes
    from rbr_dagster.views.classify_view import as_json, as_table

    rules = load_rulebook(Environment.from_variables(rulebook=rulebook).rulebook)
    labeled = load_gold_rows(gold, rules)
    rows = gold_classes(labeled, rules, where=str(gold))
    if json_output:
        typer.echo(as_json(rows, rules.behavior))
    else:
        plain_console(soft_wrap=True).print(as_table(rows, rules.behavior))
    for note in thought_notes(row.output for row in labeled):
        typer.echo(note, err=True)


@rulebook_commands.command(rich_help_panel=PANEL)
def grade(
    file: Annotated[
        Path,
        typer.Argument(help="Replies: messages, or prompt and reply; optionally id, and category or response_type."),
    ],
    out: Annotated[Path, typer.Option(help="Table of grades to write or to continue: .csv, .jsonl or .parquet.")],
    propositions: Annotated[
        str | None, typer.Option(help="Names of propositions, separated by commas. Default: all that a reply needs.")
    ] = None,
    profile: ProfileOption = None,
    rulebook: RulebookOption = None,
) -> None:
    """Grade the replies of a file with the grader of a profile. If it is interrupted, run the same command again."""
    from rbr.profile import load_profile
    from rbr.rulebook import load_rulebook
    from rbr_dagster.grade.grade_view import notes, summary
    from rbr_dagster.grade.graded_file import grade_file

    environment = Environment.from_variables(profile, rulebook)
    environment.check_profile()
    names = [name.strip() for name in (propositions or "").split(",") if name.strip()]
    try:
        rules = load_rulebook(environment.rulebook)
        graded = grade_file(file, out, load_profile(environment.profile), rules, names)
    except KeyboardInterrupt:
        typer.echo("Stopped. The answers in the table are kept. Run the same command again to get the rest.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    for line in notes(graded):
        typer.echo(line, err=True)
    typer.echo(summary(graded, out))
    if graded.n_missing:
        raise typer.Exit(EXIT_FAILED)


@rulebook_commands.command("fit", rich_help_panel=PANEL)
def fit_tables(
    grades: Annotated[
        Path, typer.Argument(help="Table with completion_id, proposition and p_yes (empty: the answer was unreadable).")
    ],
    scores: Annotated[
        Path, typer.Argument(help="Table with completion_id, prompt_id, response_type, label and score (R_rm).")
    ],
    rulebook: RulebookOption = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="Table with proposition and threshold. Default: 0.5 for all.")
    ] = None,
    constraints: Annotated[
        Literal["order_and_signs", "none"], typer.Option(help="none: the paper's fit, without constraints.")
    ] = "order_and_signs",
    l2: Annotated[float, typer.Option(min=1e-9, max=1e9, help="Weight of the L2 penalty.")] = 0.01,
    held_out_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the prompts that measure the error rates.")
    ] = 0.2,
    bootstrap: Annotated[int, typer.Option(min=0, help="Number of refits for the intervals.")] = 50,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the refits.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Directory to create, for weights.csv and certificates.csv.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Fit the weights of the reward to your own grades and scores: CSV, Parquet or JSON Lines."""
    from rbr.profile import FitSettings
    from rbr_dagster.fit.fit_view import as_json, as_text
    from rbr_dagster.fit.fitted_tables import fit_from_tables, save

    if output is not None:
        check_new_or_empty(output)
    settings = FitSettings(
        constraints=constraints, l2=l2, held_out_fraction=held_out_fraction, bootstrap=bootstrap, seed=seed
    )
    directory = Environment.from_variables(rulebook=rulebook).rulebook
    fitted = fit_from_tables(grades, scores, directory, thresholds, settings)
    if json_output:
        typer.echo(as_json(fitted))
    else:
        plain_console().print(as_text(fitted))
    if output is not None:
        for path in save(fitted, output):
            typer.echo(f"Wrote {path}", err=json_output)
    not_optimal = [result.response_type for result in fitted.results if not result.is_optimal]
    if not_optimal:
        typer.echo(f"The weights of {', '.join(not_optimal)} are not optimal. Raise --l2.", err=True)
        raise typer.Exit(EXIT_FAILED)


@rulebook_commands.command(rich_help_panel=PANEL)
def import_openai(
    file: Annotated[Path, typer.Argument(help="The released file config/proposition_prompts.yaml.")],
    directory: NewDirectory,
) -> None:
    """Convert the rules that OpenAI released with the paper into a rulebook."""
    from rbr.rulebook.released_rules import import_released_rules

    check_new_or_empty(directory)
    import_released_rules(file, directory)
    typer.echo(f"Wrote {directory}. Next: rbr lint {directory}")
