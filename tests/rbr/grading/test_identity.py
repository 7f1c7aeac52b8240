"""The identity of an in-process grader: what changes its answers changes it, and nothing else does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbr.grading.identity import identify_grader
from rbr.profile import ModelRef
from tests.rbr.grading.grader_settings import grader_settings
from tests.tiny_models import save_policy


def edit_json(name: str, **changes: Any) -> Callable[[Path], object]:
    def edit(directory: Path) -> None:
        file = directory / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


@pytest.mark.parametrize(
    ("edit", "counts"),
    [
        pytest.param(edit_json("generation_config.json", eos_token_id=[1, 2]), False, id="end tokens"),
        pytest.param(edit_json("generation_config.json", temperature=0.5), False, id="sampling"),
        pytest.param(edit_json("config.json", rms_norm_eps=0.1), True, id="configuration"),
        pytest.param(edit_json("tokenizer_config.json", eos_token="<|user|>"), True, id="tokenizer"),
        pytest.param(lambda directory: (directory / "chat_template.jinja").write_text("Hi"), True, id="template"),
        pytest.param(lambda directory: save_policy(directory, seed=1), True, id="weights"),
    ],
)
def test_a_file_counts_if_the_answers_depend_on_it(
    tmp_path: Path, edit: Callable[[Path], object], counts: bool
) -> None:
    ref = save_policy(tmp_path)
    before = identify_grader(ref, grader_settings())
    edit(tmp_path)
    assert (identify_grader(ref, grader_settings()) != before) is counts


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"yes": ("Yes", "yes")}, False),
        ({"yes": ("yes", "Yes", "yes")}, False),
        ({"no": (" no", "no", " no")}, False),
        ({"batch_size": 3}, False),
        ({"max_bound": 0.5}, False),
        ({"yes": ("yes",)}, True),
        ({"min_mass": 0.5}, True),
        ({"prompt_template": "{{ question }}"}, True),
    ],
)
def test_a_setting_counts_if_the_answers_depend_on_it(tmp_path: Path, changes: dict[str, Any], counts: bool) -> None:
    ref: ModelRef = save_policy(tmp_path)
    before = identify_grader(ref, grader_settings())
    assert (identify_grader(ref, grader_settings(**changes)) != before) is counts
