import pytest

from assets.agreement import accepted_propositions, grader_agreement
from assets.comparisons import (
    ideal_completions,
    proposition_grades,
    reward_model_scores,
    synthetic_comparisons,
    verified_comparisons,
)
from assets.prompts import checked_prompts, labeled_prompts, prompt_counts, test_prompts, training_prompts
from assets.reward import fitted_weights, reward
from tests.assets.project import Project

UP_TO_THE_REWARD = (
    checked_prompts,
    labeled_prompts,
    training_prompts,
    test_prompts,
    prompt_counts,
    synthetic_comparisons,
    proposition_grades,
    reward_model_scores,
    grader_agreement,
    accepted_propositions,
    verified_comparisons,
    ideal_completions,
    fitted_weights,
    reward,
)


@pytest.fixture(scope="session")
def _snapshots_taken(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("snapshots_taken"))
    project.snapshots()
    return project


@pytest.fixture(scope="session")
def _filled(_snapshots_taken: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _snapshots_taken.copy(tmp_path_factory.mktemp("filled"))
    for asset in UP_TO_THE_REWARD:
        project.make(asset)
    return project


@pytest.fixture
def project(_snapshots_taken: Project, tmp_path) -> Project:
    """The small project with its snapshots; no other asset is made."""
    return _snapshots_taken.copy(tmp_path / "project")


@pytest.fixture
def filled(_filled: Project, tmp_path) -> Project:
    """The small project with all assets up to the reward, made by the models of the sandbox."""
    return _filled.copy(tmp_path / "project")
