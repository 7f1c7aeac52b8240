"""Models and servers that the tests of real judges share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbr.models.gguf_import import import_gguf
from rbr.profile import ModelRef
from tests.judges.gguf_export import export_gguf
from tests.judges.plain_pass import PlainPass
from tests.judges.servers import ROOT, JudgeServer, llamacpp, smollm2_gguf, vllm

TINY_GRADER = ROOT / "rbr_sandbox" / "models" / "grader"
_TEMPLATE = (ROOT / "rbr_sandbox" / "judge_prompt.jinja").read_text(encoding="utf-8")


@dataclass(frozen=True)
class JudgeModel:
    """The same model as a directory and as a GGUF file.

    Attributes:
        name: Name under which servers serve the model.
        plain: The model, read by transformers alone.
        gguf: The fp32 weights as a GGUF file.
        context: Largest number of tokens that servers accept.
        vocabulary: Number of tokens.
    """

    name: str
    plain: PlainPass
    gguf: Path
    context: int
    vocabulary: int

    @property
    def ref(self) -> ModelRef:
        return ModelRef(path=self.plain.directory, revision=None)


def _judge_model(name: str, directory: Path, gguf: Path, pre_tokenizer: str, context: int) -> JudgeModel:
    export_gguf(directory, gguf, pre_tokenizer)
    plain = PlainPass(directory, _TEMPLATE)
    return JudgeModel(name, plain, gguf, context, len(plain.tokenizer))


@pytest.fixture(scope="session")
def tiny_grader(tmp_path_factory: pytest.TempPathFactory) -> JudgeModel:
    """The sandbox's grader."""
    gguf = tmp_path_factory.mktemp("gguf") / "grader.gguf"
    return _judge_model("grader", TINY_GRADER, gguf, "gpt-2", context=512)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> JudgeModel:
    """SmolLM2-135M-Instruct, imported from its GGUF file."""
    directory = tmp_path_factory.mktemp("smollm2")
    import_gguf(smollm2_gguf(), directory / "model")
    return _judge_model("smollm2", directory / "model", directory / "smollm2.gguf", "smollm", context=2048)


@pytest.fixture(scope="session")
def tiny_llamacpp(tiny_grader: JudgeModel) -> Iterator[JudgeServer]:
    with llamacpp(tiny_grader.gguf, tiny_grader.name, context=tiny_grader.context) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_vllm(tiny_grader: JudgeModel) -> Iterator[JudgeServer]:
    with vllm(tiny_grader.plain.directory, tiny_grader.name, context=tiny_grader.context) as server:
        yield server


@pytest.fixture(scope="session")
def smollm2_llamacpp(smollm2: JudgeModel) -> Iterator[JudgeServer]:
    with llamacpp(smollm2.gguf, smollm2.name, context=smollm2.context) as server:
        yield server


@pytest.fixture(scope="session")
def smollm2_vllm(smollm2: JudgeModel) -> Iterator[JudgeServer]:
    with vllm(smollm2.plain.directory, smollm2.name, context=smollm2.context) as server:
        yield server
