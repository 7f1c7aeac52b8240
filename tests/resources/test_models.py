import os
import subprocess
import sys
from pathlib import Path

from resources.models import Models
from tests.rbr.grading.grader_settings import grader_settings
from tests.tiny_models import save_policy, save_reward_model

ROOT = Path(__file__).resolve().parents[2]


def test_a_model_is_opened_once_until_its_files_change(tmp_path: Path) -> None:
    models = Models()
    ref = save_policy(tmp_path / "policy")
    first = models.policy(ref, 4)
    assert models.policy(ref, 4) is first
    save_policy(tmp_path / "policy", seed=1)
    assert models.policy(ref, 4) is not first


def test_reward_models_and_graders_are_opened_once_too(tmp_path: Path) -> None:
    models = Models()
    scorer = save_reward_model(tmp_path / "reward_model")
    grader = save_policy(tmp_path / "grader")
    assert models.reward_model(scorer) is models.reward_model(scorer)
    assert models.grader(grader, grader_settings()) is models.grader(grader, grader_settings())
    assert models.grader(grader, grader_settings()) is not models.grader(grader, grader_settings(few_shot=1))


def test_the_resource_itself_imports_no_torch() -> None:
    code = "import sys; import resources.models, resources.trainer; print({'torch', 'transformers'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment, text=True).strip() == "set()"
