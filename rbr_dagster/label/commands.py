"""The commands `rbr label new` and `rbr label read`."""

from pathlib import Path
from typing import Annotated

import typer

from rbr_dagster.command_options import ProfileOption, RulebookOption
from rbr_dagster.environment import Environment, require_pipeline

label_commands = typer.Typer(no_args_is_help=True, help="Label stored replies, to measure how good the grader is.")

_SHEET = typer.Argument(help="The sheet: a file that ends in .csv (for a spreadsheet) or .jsonl.")


@label_commands.command("new")
def new_sheet(
    sheet: Annotated[Path, _SHEET],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Largest number of replies.")] = 50,
    proposition: Annotated[
        list[str] | None,
        typer.Option(help="Label this proposition only; may be repeated. Replies are chosen by the grader's answer."),
    ] = None,
    gold: Annotated[
        list[Path] | None,
        typer.Option(help="Gold file whose replies are left out; may be repeated. Default: the file of the profile."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the choice.")] = 0,
    show_grades: Annotated[
        bool, typer.Option("--show-grades", help="Add the grader's answers. They lead people to agree with the grader.")
    ] = False,
    profile: ProfileOption = None,
    rulebook: RulebookOption = None,
) -> None:
    """Write a sheet of stored replies without labels: of every class, half of them where the grader is least sure."""
    environment = _environment("label new", profile, rulebook)
    from rbr.profile import load_profile
    from rbr_dagster.label.new_sheet import make_sheet

    if not gold:
        environment.check_profile()
        default = Path(load_profile(environment.profile).gold_labels)
        gold = [default] if default.exists() else []
    made = make_sheet(
        environment,
        sheet,
        number=number,
        seed=seed,
        propositions=proposition or (),
        gold=gold,
        show_grades=show_grades,
    )
    for name, question in made.questions.items():
        typer.echo(f"{name}: {question}")
    typer.echo("")
    for stratum, count in made.strata.items():
        typer.echo(f"{count:4}  {stratum}")
    typer.echo(
        f"Wrote {sheet} with {sum(made.strata.values())} replies. Write yes or no into the columns of propositions."
    )
    typer.echo(f"Next: rbr label read {sheet} --gold FILE")


@label_commands.command("read")
def read_sheet(
    sheet: Annotated[Path, _SHEET],
    gold: Annotated[Path, typer.Option(help="Gold file to add the labels to. It is created if it does not exist.")],
    rulebook: RulebookOption = None,
) -> None:
    """Check a sheet and add its labels to a gold file. If anything is wrong, nothing is written."""
    environment = _environment("label read", None, rulebook)
    from rbr_dagster.label.read_labels import read_labels

    read = read_labels(environment, sheet, gold)
    added = read.added
    typer.echo(
        f"Added {added.labels} labels to {gold}: {added.new} new replies, {added.extended} replies with more labels, "
        f"{added.unchanged} replies unchanged."
    )
    if read.without_label:
        typer.echo(f"{read.without_label} rows have no label and were left out.")


def _environment(command: str, profile: str | None, rulebook: str | None) -> Environment:
    require_pipeline(command)
    environment = Environment.from_variables(profile, rulebook)
    environment.check_state()
    return environment
