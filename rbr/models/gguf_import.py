"""Imports a chat model from a GGUF file into a directory that every backend opens."""

import importlib.util
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rbr.errors import InputError
from rbr.files.file_replacement import usual_mode

DataType: TypeAlias = Literal["float32", "bfloat16", "float16"]
"""Type in which the imported weights are stored."""

_PACKAGES = ("torch", "transformers", "accelerate", "gguf")
_MAGIC = b"GGUF"

# Pre-tokenizers of byte-level tokenizers that cut a text like GPT-2. `smollm` also cuts between digits, but such a
# tokenizer has no token with two digits, so the tokens are the same.
_LIKE_GPT2 = ("default", "gpt-2", "smollm")

# What NumPy says when gguf reads behind the end of a file.
_BEHIND_THE_END = ("reshape", "larger dtype", "not enough values")

_TRIAL = [{"role": "user", "content": "Hello, World!\n\nIs 1 + 12 = 13?"}, {"role": "assistant", "content": "Yes."}]


@dataclass(frozen=True)
class ImportedModel:
    """What an import wrote.

    Attributes:
        directory: Directory with weights, tokenizer and chat template.
        architecture: Class of the model in transformers.
        parameters: Number of parameters.
        tensor_types: Number of tensors in the GGUF file, by type, such as ``{"F32": 61, "Q4_1": 211}``.
        warnings: What the user should check, in sentences.

    Example:
        >>> ImportedModel(Path("judge"), "LlamaForCausalLM", 134_515_008, {"F32": 272}).warnings
        ()
    """

    directory: Path
    architecture: str
    parameters: int
    tensor_types: dict[str, int]
    warnings: tuple[str, ...] = ()


def import_gguf(file: Path, directory: Path, dtype: DataType = "float32") -> ImportedModel:
    """Writes a chat model from a GGUF file as safetensors, with its tokenizer, chat template and generation config.

    transformers loads a GGUF file, but it refuses to save the loaded model, because the model counts as quantized. So
    the dequantized weights move into a fresh model of the same configuration. The function opens the written directory
    again, and checks that logits and tokens are those of the loaded model.

    Args:
        file: GGUF file of a chat model. A model that is split into several files must be merged first.
        directory: Directory to create. If the directory exists, it must be empty.
        dtype: Type of the written weights. ``float32`` keeps every dequantized value.

    Returns:
        What was written, and what the user should check.

    Raises:
        InputError: A package is missing, the file cannot be read as a GGUF file, transformers does not support the
            architecture or the tokenizer, weights or the chat template are missing, or the written model differs.
            Nothing is written then.

    Example:
        >>> try:
        ...     import_gguf(Path("rbr_sandbox/models/grader/config.json"), Path("unused"))
        ... except InputError as error:
        ...     print(error.what)
        the file is not a GGUF file
    """
    _check_file(file)
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"the import needs the Python package {missing[0]}", hint="Run: pip install 'rbr-dagster[train,gguf]'"
        )
    tensor_types, pre_tokenizer = _header(file)
    loaded, tokenizer = _load(file, dtype)
    expected = _logits_and_tokens(loaded, tokenizer)
    fresh = _unquantized(loaded)
    target = directory.resolve()
    # 1. Write beside the target, so that a failure leaves nothing at the target.
    above = next(path for path in target.parents if path.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=above) as scratch:
        partial = Path(scratch) / "model"
        fresh.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        known = _drop_tokens_without_embedding(partial, fresh.get_input_embeddings().num_embeddings)
        for path in partial.iterdir():
            path.chmod(usual_mode())
        # 2. Open what was written, as a backend does.
        _check_written(partial, expected, known, file)
        # 3. Move the finished directory into place.
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, target)
    return ImportedModel(
        directory=directory,
        architecture=type(fresh).__name__,
        parameters=fresh.num_parameters(),
        tensor_types=tensor_types,
        warnings=_warnings(tokenizer, pre_tokenizer),
    )


def _check_file(file: Path) -> None:
    """Checks the first bytes of a file, so that a wrong path is found before slow packages are imported."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        raise InputError(what, where=str(file), hint="Correct the path of the GGUF file.") from error
    if magic != _MAGIC:
        hint = "A GGUF file begins with the four letters GGUF. Check the download; a Git LFS pointer is a text file."
        raise InputError("the file is not a GGUF file", where=str(file), hint=hint)


def _load(file: Path, dtype: DataType) -> tuple[Any, Any]:
    """Returns the dequantized model and the tokenizer of a GGUF file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(file.resolve().parent), file.resolve().name
    source: dict[str, Any] = {"gguf_file": name, "local_files_only": True}
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, quantization_config=GgufConfig(dequantize=True), output_loading_info=True, **source
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **source)
    # The readers of GGUF files check little. A truncated or unknown file fails in many ways, also as an IndexError.
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        what = f"transformers cannot read the model: {reason}"
        hint = "Use a complete GGUF file of an architecture that transformers supports, or the original model."
        raise InputError(what, where=str(file), hint=hint) from error
    if missing := sorted(loading["missing_keys"]):
        # transformers fills missing weights with random numbers.
        what = f"the file lacks the weights {', '.join(missing[:3])}"
        hint = "If the model is split into several files, merge them with `llama-gguf-split --merge`."
        raise InputError(what, where=str(file), hint=hint)
    if not tokenizer.chat_template:
        raise InputError("the file has no chat template", where=str(file), hint="Use an instruction-tuned model.")
    return model.eval(), tokenizer


def _unquantized(loaded: Any) -> Any:
    """Returns a model with the weights and the configuration of `loaded`, but without its quantization."""
    import torch
    from transformers import AutoModelForCausalLM

    left_out = ("quantization_config", "_model_name_or_path")
    config = type(loaded.config).from_dict(
        {key: value for key, value in loaded.config.to_dict().items() if key not in left_out}
    )
    # The skeleton needs no memory of its own: it takes over the tensors of the loaded model.
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(config, dtype=loaded.dtype)
    fresh.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    fresh.tie_weights()
    fresh.generation_config = loaded.generation_config
    return fresh


def _logits_and_tokens(model: Any, tokenizer: Any) -> tuple[Any, list[int]]:
    """Returns the logits, float32[T, V], and the T tokens of a trial conversation."""
    import torch

    text = tokenizer.apply_chat_template(_TRIAL, tokenize=False)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].float(), tokens


def _drop_tokens_without_embedding(directory: Path, n_embeddings: int) -> dict[str, int]:
    """Removes the tokens that transformers adds to a tokenizer although the model has no embedding for them.

    Args:
        directory: Directory with the written tokenizer.
        n_embeddings: Number of tokens that the model knows.

    Returns:
        Ids of the added tokens that are left.
    """
    tokenizer, config = directory / "tokenizer.json", directory / "tokenizer_config.json"
    content, settings = (json.loads(path.read_text(encoding="utf-8")) for path in (tokenizer, config))
    unknown = {token["content"] for token in content["added_tokens"] if token["id"] >= n_embeddings}
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in unknown]
    settings = {key: value for key, value in settings.items() if not (isinstance(value, str) and value in unknown)}
    for path, value in ((tokenizer, content), (config, settings)):
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
    return {token["content"]: token["id"] for token in content["added_tokens"]}


def _check_written(directory: Path, expected: tuple[Any, list[int]], added_tokens: dict[str, int], file: Path) -> None:
    """Checks that the written model gives the same logits and tokens as the loaded model, and has the added tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, use_safetensors=True, dtype="auto").eval()
    logits, tokens = _logits_and_tokens(model, tokenizer)
    if tokens != expected[1] or tokenizer.get_added_vocab() != added_tokens:
        raise _differs("tokens", file)
    # The weights are equal to the last bit. The sums can differ in their last bits, because memory is laid out
    # differently.
    largest = float((logits - expected[0]).abs().max())
    if not largest <= 1e-4 * max(1.0, float(expected[0].abs().max())):
        raise _differs(f"logits, by up to {largest:.2g}", file)


def _differs(what: str, file: Path) -> InputError:
    return InputError(
        f"the written model gives other {what}",
        where=str(file),
        hint="transformers does not write this architecture as it reads it. Use the original model.",
    )


def _header(file: Path) -> tuple[dict[str, int], str | None]:
    """Returns the number of tensors by type, and the name of the pre-tokenizer; None if the file names none.

    Raises:
        InputError: The file is no GGUF file, or ends early.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
    except (IndexError, ValueError) as error:
        if isinstance(error, IndexError) or any(words in str(error) for words in _BEHIND_THE_END):
            raise InputError("the file ends early", where=str(file), hint="Download or copy the file again.") from error
        hint = "Use a complete GGUF file, or the original model."
        raise InputError(f"the file cannot be read: {error}", where=str(file), hint=hint) from error
    names = sorted(tensor.tensor_type.name for tensor in reader.tensors)
    field = reader.get_field("tokenizer.ggml.pre")
    return {name: names.count(name) for name in dict.fromkeys(names)}, field.contents() if field else None


def _warnings(tokenizer: Any, pre_tokenizer: str | None) -> tuple[str, ...]:
    # transformers takes the pre-tokenizer of GPT-2 for every name that it does not know.
    steps = str(tokenizer.backend_tokenizer.pre_tokenizer)
    cuts_like_gpt2 = steps.startswith("ByteLevel(") and "use_regex=True" in steps
    if pre_tokenizer is None or pre_tokenizer in _LIKE_GPT2 or not cuts_like_gpt2:
        return ()
    return (
        f"transformers does not know the pre-tokenizer {pre_tokenizer!r} and cuts texts like GPT-2. Numbers, blanks "
        "and accents can give other tokens than at a llama.cpp server. Compare with the original model's tokenizer.",
    )
