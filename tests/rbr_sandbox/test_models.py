"""The shipped weights are those that the model card describes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rbr_sandbox.measure.measure_models import measure_models
from rbr_sandbox.measure.model_card import CARD, MODELS, card_tables, read_figures

ROLES = {
    "policy": AutoModelForCausalLM,
    "grader": AutoModelForCausalLM,
    "helpful_reward_model": AutoModelForSequenceClassification,
    "human_reward_model": AutoModelForSequenceClassification,
}
MEGABYTE = 2**20


def test_the_checksum_file_lists_every_model_file_with_its_checksum() -> None:
    lines = (MODELS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    checksums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    shipped = {str(path.relative_to(MODELS)) for role in ROLES for path in (MODELS / role).iterdir()}
    assert set(checksums) == shipped
    assert {name: hashlib.sha256((MODELS / name).read_bytes()).hexdigest() for name in checksums} == checksums


@pytest.mark.parametrize("role", ROLES)
def test_the_weights_load_like_any_model_from_the_hub(role: str) -> None:
    model, loading = ROLES[role].from_pretrained(MODELS / role, dtype=torch.float32, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(MODELS / role)
    assert len(tokenizer) == model.config.vocab_size
    with safe_open(MODELS / role / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float16}  # noqa: SIM118


def test_all_weights_together_have_at_most_16_megabytes() -> None:
    assert sum((MODELS / role / "model.safetensors").stat().st_size for role in ROLES) <= 16 * MEGABYTE


def test_the_card_shows_the_figures() -> None:
    assert card_tables(read_figures()) in CARD.read_text(encoding="utf-8")


def test_all_bars_of_the_card_hold() -> None:
    assert [f"{figure.group}: {figure.name}" for figure in read_figures() if not figure.holds] == []


@pytest.mark.slow
def test_a_new_measurement_of_the_shipped_weights_gives_the_figures_of_the_card() -> None:
    # Machines round differently, so a few sampled replies differ.
    again = {(f.group, f.name.split(" (only")[0]): f for f in measure_models("profiles/sandbox.yaml", "rulebook")}
    card = {(f.group, f.name.split(" (only")[0]): f for f in read_figures()}
    assert set(again) == set(card)
    assert {key: again[key].value for key in card} == pytest.approx({key: f.value for key, f in card.items()}, abs=0.05)


@pytest.mark.slow
def test_training_gives_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    def checksums_of_training(threads: int) -> str:
        output = tmp_path / str(threads)
        options = ["--only", "base", "grader", "human_reward_model"]
        options += ["--shorten", "300", "--threads", str(threads)]
        directories = ["--output", str(output), "--base", str(output / "base")]
        subprocess.run([sys.executable, "-m", "rbr_sandbox.train", *options, *directories], check=True)
        return (output / "SHA256SUMS").read_text(encoding="utf-8")

    assert checksums_of_training(1) == checksums_of_training(2)
