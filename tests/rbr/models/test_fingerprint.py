import json
import os
import shutil
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef


def model(directory: Path, weights: bytes = b"weights") -> ModelRef:
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights)
    return ModelRef(path=str(directory), revision=None)


def test_a_copy_of_a_model_has_the_same_fingerprint(tmp_path: Path) -> None:
    ref = model(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    assert model_fingerprint(ref) == model_fingerprint(ModelRef(path=str(tmp_path / "copy"), revision=None))


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    assert model_fingerprint(model(tmp_path / "a")) != model_fingerprint(model(tmp_path / "b", b"other"))


def test_a_changed_file_changes_the_fingerprint_in_the_same_process(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref)
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(0, 1))
    assert model_fingerprint(ref) != before


def test_the_fingerprint_of_a_hub_model_covers_its_name_and_revision() -> None:
    def fingerprint(path: str, revision: str) -> str:
        return model_fingerprint(ModelRef(path=path, revision=revision))

    assert fingerprint("org/m", "a1") == fingerprint("org/m", "a1")
    assert len({fingerprint("org/m", "a1"), fingerprint("org/m", "b2"), fingerprint("org/n", "a1")}) == 3


def test_a_hub_model_without_a_revision_is_rejected() -> None:
    with pytest.raises(InputError, match="has no revision"):
        model_fingerprint(ModelRef(path="org/model", revision=None))


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "train.log",
        ".git/HEAD",
        "optimizer.pt",
        "trainer_state.json",
        "training_args.bin",
        "metrics.parquet",
        "checkpoint-2/model.safetensors",
        "checkpoint-2/config.json",
        "pytorch_model.bin",
    ],
)
def test_a_file_that_changes_no_result_does_not_count(tmp_path: Path, file: str) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref)
    (tmp_path / "a" / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "a" / file).write_text("something")
    assert model_fingerprint(ref) == before


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "tokenizer.model",
        "chat_template.jinja",
        "chat_template.json",
        "additional_chat_templates/tool_use.jinja",
        "adapter_config.json",
        "adapter_model.safetensors",
    ],
)
def test_a_file_that_changes_results_counts(tmp_path: Path, file: str) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref)
    (tmp_path / "a" / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "a" / file).write_text("something")
    assert model_fingerprint(ref) != before


def test_of_the_generation_settings_only_the_end_tokens_count(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    file = tmp_path / "a" / "generation_config.json"
    seen = []
    for text in ('{"eos_token_id": 1}', '{"eos_token_id": 1, "min_p": 0.1}', '{"eos_token_id": [1, 2]}', "not JSON"):
        file.write_text(text)
        seen.append(model_fingerprint(ref))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_the_end_tokens_of_a_model_that_writes_nothing_do_not_count(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref, writes=False)
    (tmp_path / "a" / "generation_config.json").write_text('{"eos_token_id": 1}')
    assert model_fingerprint(ref, writes=False) == before != model_fingerprint(ref)


def write_index(directory: Path, *files: str) -> None:
    weights = {f"layer.{number}": file for number, file in enumerate(files)}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))


@pytest.mark.parametrize("file", ["weights/1.safetensors", "weights/1.bin", "../shared.safetensors"])
def test_weights_in_another_directory_count_if_an_index_names_them(tmp_path: Path, file: str) -> None:
    ref = model(tmp_path / "a")
    write_index(tmp_path / "a", "model.safetensors", file)
    seen = [model_fingerprint(ref)]
    (tmp_path / "a" / file).parent.mkdir(exist_ok=True)
    for content in (b"1", b"22"):
        (tmp_path / "a" / file).write_bytes(content)
        seen.append(model_fingerprint(ref))
    assert len(set(seen)) == 3


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 5}}', "[" * 100_000])
def test_an_index_in_another_format_counts_as_a_file(tmp_path: Path, index: str) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref)
    (tmp_path / "a" / "model.safetensors.index.json").write_text(index)
    assert model_fingerprint(ref) != before


def test_an_index_that_names_the_files_of_its_directory_reads_each_once(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    write_index(tmp_path / "a")
    without = model_fingerprint(ref)
    write_index(tmp_path / "a", "model.safetensors", "./model.safetensors")
    index = (tmp_path / "a" / "model.safetensors.index.json").read_bytes()
    assert model_fingerprint(ref) != without
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "model.safetensors.index.json").read_bytes() == index
    assert model_fingerprint(ModelRef(path=str(tmp_path / "b"), revision=None)) == model_fingerprint(ref)


def adapter(directory: Path, base: object) -> ModelRef:
    directory.mkdir()
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    (directory / "adapter_model.safetensors").write_bytes(b"adapter")
    return ModelRef(path=str(directory), revision=None)


def test_the_base_model_of_an_adapter_counts(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    ref = adapter(tmp_path / "adapter", base.path)
    before = model_fingerprint(ref)
    (tmp_path / "base" / "model.safetensors").write_bytes(b"other weights")
    assert model_fingerprint(ref) != before


@pytest.mark.parametrize("base", ["org/model", "/no/such/directory"])
def test_an_adapter_whose_base_model_is_not_a_local_directory_is_rejected(tmp_path: Path, base: str) -> None:
    ref = adapter(tmp_path / "adapter", base)
    with pytest.raises(InputError, match=f"base model '{base}' of the adapter is not a local directory") as caught:
        model_fingerprint(ref)
    assert str(tmp_path / "adapter" / "adapter_config.json") in str(caught.value)


def test_an_adapter_beside_its_model_has_no_other_base(tmp_path: Path) -> None:
    ref = adapter(tmp_path / "adapter", "org/model")
    (tmp_path / "adapter" / "config.json").write_text("{}")
    assert len(model_fingerprint(ref)) == 16


@pytest.mark.parametrize("revision", [None, "4c0bd2a"])
def test_the_arguments_of_the_chat_template_count(tmp_path: Path, revision: str | None) -> None:
    path = model(tmp_path / "a").path if revision is None else "org/model"

    def fingerprint(**arguments: bool) -> str:
        return model_fingerprint(ModelRef(path=path, revision=revision, chat_template_kwargs=arguments))

    assert fingerprint() == model_fingerprint(ModelRef(path=path, revision=revision))
    assert len({fingerprint(), fingerprint(enable_thinking=False), fingerprint(enable_thinking=True)}) == 3


def test_the_type_counts_and_float32_changes_no_fingerprint(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    by_type = {
        dtype: model_fingerprint(ModelRef(path=ref.path, revision=None, dtype=dtype))
        for dtype in ("float32", "bfloat16", "float16")
    }
    assert len(set(by_type.values())) == 3
    assert by_type["float32"] == model_fingerprint(ref)
    assert model_fingerprint(ModelRef(path="org/model", revision="4c0bd2a", dtype="float32")) == "1355e6d4e0f0175b"
