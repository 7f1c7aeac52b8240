"""A GGUF file becomes a directory that every backend opens, or nothing is written."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rbr.errors import InputError
from rbr.files.file_replacement import usual_mode
from rbr.models.gguf_import import import_gguf
from rbr.models.pretrained import open_model, open_tokenizer
from rbr.profile import ModelRef
from tests.judges.gguf_export import export_gguf
from tests.tiny_models import save_policy

ROOT = Path(__file__).resolve().parents[3]
TEXT = "USER: I'm sorry.\n\n  12,345 don't <|end|>"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_policy(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def file(original: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_gguf(original.path, tmp_path_factory.mktemp("gguf") / "model.gguf", "gpt-2")


def logits(ref: ModelRef) -> torch.Tensor:
    model = open_model(AutoModelForCausalLM, ref)
    with torch.inference_mode():
        return model(torch.tensor([open_tokenizer(ref).encode(TEXT)])).logits


def test_the_imported_model_is_the_exported_one(original: ModelRef, file: Path, tmp_path: Path) -> None:
    written = import_gguf(file, tmp_path / "a" / "model")
    imported = ModelRef(path=str(written.directory), revision=None)
    torch.testing.assert_close(logits(imported), logits(original), rtol=0, atol=1e-5)
    tokenizers = [AutoTokenizer.from_pretrained(ref.path) for ref in (imported, original)]
    ids, expected = (tokenizer.encode(TEXT) for tokenizer in tokenizers)
    assert ids == expected
    assert tokenizers[0].chat_template == tokenizers[1].chat_template
    assert tokenizers[0].eos_token == tokenizers[1].eos_token
    assert GenerationConfig.from_pretrained(imported.path).eos_token_id == tokenizers[1].eos_token_id
    assert written.architecture == "LlamaForCausalLM"
    assert written.tensor_types == {"F32": 20}
    assert written.warnings == ()


def test_the_tokenizer_has_the_added_tokens_of_the_original_and_none_without_an_embedding(
    original: ModelRef, file: Path, tmp_path: Path
) -> None:
    directory = import_gguf(file, tmp_path / "model").directory
    imported, expected = (AutoTokenizer.from_pretrained(path) for path in (directory, original.path))
    assert imported.get_added_vocab() == expected.get_added_vocab()
    assert len(imported) == len(expected) <= AutoConfig.from_pretrained(directory).vocab_size


def test_all_files_have_the_permissions_of_the_umask(file: Path, tmp_path: Path) -> None:
    directory = import_gguf(file, tmp_path / "model").directory
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {usual_mode()}


def test_nothing_in_the_directory_says_that_the_model_is_quantized(file: Path, tmp_path: Path) -> None:
    import_gguf(file, tmp_path / "model", dtype="bfloat16")
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert not hasattr(config, "quantization_config")
    assert config.dtype == torch.bfloat16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_an_unknown_pre_tokenizer_is_told(original: ModelRef, tmp_path: Path) -> None:
    file = export_gguf(original.path, tmp_path / "model.gguf", "deepseek-llm")
    (warning,) = import_gguf(file, tmp_path / "model").warnings
    assert "'deepseek-llm'" in warning


def missing(directory: Path, file: Path) -> Path:
    return directory / "nothing.gguf"


def a_directory(directory: Path, file: Path) -> Path:
    return directory


def a_text(directory: Path, file: Path) -> Path:
    (directory / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1")
    return directory / "pointer.gguf"


def empty(directory: Path, file: Path) -> Path:
    (directory / "empty.gguf").touch()
    return directory / "empty.gguf"


def truncated(directory: Path, file: Path) -> Path:
    (directory / "half.gguf").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return directory / "half.gguf"


def cut_in_the_tokens(directory: Path, file: Path) -> Path:
    (directory / "short.gguf").write_bytes(file.read_bytes()[:1000])
    return directory / "short.gguf"


def only_the_first_bytes(directory: Path, file: Path) -> Path:
    (directory / "magic.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    return directory / "magic.gguf"


def unknown_architecture(directory: Path, file: Path) -> Path:
    writer = gguf.GGUFWriter(directory / "unknown.gguf", "talkative")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return directory / "unknown.gguf"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (missing, "the file cannot be read: No such file"),
        (a_directory, "the file cannot be read: Is a directory"),
        (a_text, "the file is not a GGUF file"),
        (empty, "the file is not a GGUF file"),
        (truncated, "the file ends early"),
        (cut_in_the_tokens, "the file ends early"),
        (only_the_first_bytes, "the file ends early"),
        (unknown_architecture, "architecture talkative is not supported"),
    ],
)
def test_a_file_that_cannot_be_imported_leaves_nothing(source, what: str, file: Path, tmp_path: Path) -> None:
    given = source(tmp_path, file)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as error:
        import_gguf(given, tmp_path / "new" / "model")
    assert what in str(error.value)
    assert str(given) in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    original = save_policy(tmp_path / "base", template=False)
    file = export_gguf(original.path, tmp_path / "base.gguf", "gpt-2")
    with pytest.raises(InputError, match="no chat template"):
        import_gguf(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find_spec(name))
    with pytest.raises(InputError, match=r"package gguf(.|\n)*pip install 'rbr-dagster\[train,gguf\]'"):
        import_gguf(file, tmp_path / "model")


def import_command(*arguments: Path) -> subprocess.CompletedProcess[str]:
    """Runs `rbr models import-gguf`."""
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", "models", "import-gguf", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_writes_the_directory_and_says_what_it_holds(file: Path, tmp_path: Path) -> None:
    process = import_command(file, tmp_path / "model")
    assert process.returncode == 0, process.stderr
    assert f"Wrote {tmp_path / 'model'}: LlamaForCausalLM" in process.stdout
    assert "20 F32" in process.stdout
    logits(ModelRef(path=str(tmp_path / "model"), revision=None))


def test_the_command_refuses_a_directory_with_files(file: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    process = import_command(file, tmp_path)
    assert process.returncode == 2
    assert "already exists" in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command_exits_with_status_2_for_a_file_that_is_missing(tmp_path: Path) -> None:
    process = import_command(tmp_path / "no.gguf", tmp_path / "model")
    assert process.returncode == 2
    assert process.stderr.startswith(f"{tmp_path / 'no.gguf'}: the file cannot be read")
    assert list(tmp_path.iterdir()) == []
