import os
import subprocess
import sys
from pathlib import Path

from rbr.profile import ModelRef
from resources.models import GraderInUse, Models, PolicyInUse, RewardModelInUse, Sampling
from resources.store.snapshot_content import PinnedModel
from tests.rbr.grading.grader_settings import grader_settings
from tests.tiny_models import save_policy, save_reward_model

ROOT = Path(__file__).resolve().parents[2]


def pinned(ref: ModelRef) -> PinnedModel:
    return PinnedModel(ref, "fingerprint")


def test_a_model_is_opened_once_until_its_files_change(tmp_path: Path) -> None:
    models = Models()
    policy = PolicyInUse(pinned(save_policy(tmp_path / "policy")), Sampling(1.0, 1.0, 8, 0), batch_size=4)
    first = models.open_policy(policy)
    assert models.open_policy(policy) is first
    save_policy(tmp_path / "policy", seed=1)
    assert models.open_policy(policy) is not first


def test_reward_models_and_graders_are_opened_once_too(tmp_path: Path) -> None:
    models = Models()
    reward_model = RewardModelInUse(pinned(save_reward_model(tmp_path / "reward_model")))
    assert models.open_reward_model(reward_model) is models.open_reward_model(reward_model)
    model = pinned(save_policy(tmp_path / "grader"))
    grader, other = GraderInUse(model, grader_settings()), GraderInUse(model, grader_settings(few_shot=1))
    assert models.open_grader(grader) is models.open_grader(grader)
    assert models.open_grader(grader) is not models.open_grader(other)


def test_the_version_of_a_grader_is_part_of_stored_grades_and_must_not_change() -> None:
    settings = grader_settings(prompt_template="{{ question }}")
    grader = GraderInUse(PinnedModel(ModelRef(path="nowhere", revision=None), "fingerprint"), settings)
    assert grader.version == "5a7d43f91f9868a4"
    sampling = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=64, seed=0)
    assert sampling.key == "6d8d4ffedd718213"


def test_the_resource_itself_imports_no_torch() -> None:
    code = "import sys; import resources.models, resources.trainer; print({'torch', 'transformers'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment, text=True).strip() == "set()"
