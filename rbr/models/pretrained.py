"""Opening models and tokenizers: safetensors only, no remote code, fp32 on a CPU, pinned revisions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rbr.errors import InputError

if TYPE_CHECKING:
    from rbr.profile import ModelRef


def device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_model(kind: Any, ref: "ModelRef", **options: Any) -> PreTrainedModel:
    """Loads a model for inference.

    Args:
        kind: An ``AutoModelFor...`` class.
        ref: A local directory, or a Hub id with a revision.
        **options: Passed on to ``from_pretrained``.

    Raises:
        InputError: The model cannot be found or read, or lacks weights that `kind` needs.
    """
    _check_place(ref)
    # On a CPU fp32 is the faster type and the reproducible one; on a GPU the model's own type is what fits.
    dtype = torch.float32 if device().type == "cpu" else "auto"
    try:
        model, loading = kind.from_pretrained(
            ref.path,
            revision=_revision(ref),
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise _unreadable(ref, error) from error
    if missing := sorted(loading["missing_keys"]):
        # They would be filled with random numbers: a chat model opened as a reward model scores noise.
        raise InputError(
            f"the files lack the weights {', '.join(missing[:3])}",
            where=ref.path,
            hint="Give a model that was trained for this use.",
        )
    return model.to(device()).eval()


def open_tokenizer(ref: "ModelRef") -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a chat model; one without a padding token pads with its end token.

    Raises:
        InputError: It cannot be found or read, or has no chat template.
    """
    _check_place(ref)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(ref.path, revision=_revision(ref))
    except (OSError, ValueError) as error:
        raise _unreadable(ref, error) from error
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template", where=ref.path, hint="Use an instruction-tuned model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context_length(model: PreTrainedModel) -> int:
    """Most tokens a sequence may have; effectively unbounded where the configuration names no limit."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)


def _check_place(ref: "ModelRef") -> None:
    if ref.revision is None and not Path(ref.path).is_dir():
        raise InputError(
            "there is no such directory",
            where=ref.path,
            hint="Check the model's path in the profile; a Hub id needs a revision.",
        )


def _revision(ref: "ModelRef") -> str:
    return ref.revision or "main"


def _unreadable(ref: "ModelRef", error: Exception) -> InputError:
    reason = str(error).strip().split("\n")[0]
    return InputError(
        f"the model cannot be opened: {reason}",
        where=ref.path,
        hint="Give a directory with config, tokenizer and *.safetensors, or a Hub id with its revision.",
    )
