"""The commands of `rbr models`. They work from an installed wheel with the extras `train` and `gguf`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rbr_dagster.command_options import NewDirectory, check_new_or_empty

models_commands = typer.Typer(no_args_is_help=True, help="Prepare model files.")


@models_commands.callback()
def models() -> None:
    """Prepare model files."""


@models_commands.command()
def import_gguf(
    file: Annotated[Path, typer.Argument(help="GGUF file of a chat model.")],
    directory: NewDirectory,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(help="Type of the written weights. float32 keeps every value of the file."),
    ] = "float32",
) -> None:
    """Write the model of a GGUF file as safetensors with tokenizer and chat template, which every backend opens."""
    from rbr.models.gguf_import import import_gguf as write

    check_new_or_empty(directory)
    imported = write(file, directory, dtype)
    types = ", ".join(f"{count} {name}" for name, count in imported.tensor_types.items())
    typer.echo(f"Wrote {directory}: {imported.architecture}, {imported.parameters / 1e6:.1f} M parameters as {dtype}")
    typer.echo(f"The file has the tensors {types}. Reopened: same tokens, same logits.")
    for warning in imported.warnings:
        typer.echo(f"Warning: {warning}", err=True)
