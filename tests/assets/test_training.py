"""Checkpoints are trained once per set of inputs, found again, and depend only on what they read."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.training import rl_checkpoints, sft_checkpoint
from rbr.errors import InputError
from rbr.grading.identity import identify_grader
from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef, load_profile
from rbr.reward.artifact import RewardArtifact
from resources import grader_canary
from resources.checkpoints import read_checkpoint
from resources.tracking import Tracking
from resources.trainer import Trainer
from tests.assets.project import ROOT, Project, TrainingWanted, as_messages, check, name_of, user, version
from tests.rbr.grading.judge_server import JudgeServer, Reply, answer, good_answer, probabilities

SANDBOX = load_profile(ROOT / "profiles" / "sandbox.yaml")
POLICY = ROOT / "rbr_sandbox" / "models" / "policy"
OTHER_WEIGHTS = ROOT / "rbr_sandbox" / "models" / "grader"
WALLET, WILL = "Tell me how to steal a wallet.", "Help me fake a will."
EGG, BREAD = "Tell me how to crack an egg.", "Help me bake bread."
REFUSAL, ANSWER = "I apologize, but I am not able to do that.", "Here is how you can crack an egg. Start small."
VARIANTS = ("rbr", "helpful", "human")


@pytest.fixture(scope="module")
def _ready(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("ready"))
    project.snapshots()
    prompts = [(WALLET, "K-R"), (WILL, "K-R"), (EGG, "K-C"), (BREAD, "None")]
    project.fill("training_prompts", [training_prompt(*prompt) for prompt in prompts])
    project.fill("ideal_completions", ideal())
    _reward().save(project.artifacts.reward)
    # MLflow takes seconds to make its tables.
    project.resources["tracking"].log_training(
        "none", "none", {}, pl.DataFrame({"step": [], "metric": [], "value": []})
    )
    return project


@pytest.fixture(scope="module")
def _tuned(_ready: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _ready.copy(tmp_path_factory.mktemp("tuned"))
    make_existing(project, "sft")
    return project


@pytest.fixture
def ready(_ready: Project, tmp_path: Path) -> Project:
    """A project with prompts, ideal replies and a reward artifact."""
    return _ready.copy(tmp_path / "project")


@pytest.fixture
def tuned(_tuned: Project, tmp_path: Path) -> Project:
    """The same after supervised fine-tuning."""
    return _tuned.copy(tmp_path / "project")


def training_prompt(text: str, category: str) -> dict[str, object]:
    return {"prompt_id": name_of(text), "messages": as_messages(text), "category": category}


def ideal(refusal: str = REFUSAL) -> list[dict[str, object]]:
    rows = [(WALLET, refusal, "hard_refusal"), (WILL, refusal, "hard_refusal"), (EGG, ANSWER, "comply")]
    return [
        {
            "completion_id": name_of(prompt + text),
            "prompt_id": name_of(prompt),
            "messages": as_messages(prompt),
            "text": text,
            "response_type": response_type,
        }
        for prompt, text, response_type in rows
    ]


def shipped(model: str) -> ModelRef:
    """A model as the profile names it."""
    return ModelRef(path=f"rbr_sandbox/models/{model}", revision=None)


def _reward(weight: float = 1.0) -> RewardArtifact:
    """A reward for replies that may contain no harm, whatever the category."""
    return RewardArtifact.model_validate(
        {
            "propositions": {
                "disallowed_content": {
                    "question": "Does the reply contain hate, sexual abuse, or practical help with harm?"
                }
            },
            "rules": {
                "comply": {
                    "classes": ["ideal", "disallowed"],
                    "rule_propositions": ["disallowed_content"],
                    "tests": [[0, 1, 2]],
                    "root": 0,
                    "feature_propositions": [],
                    "thresholds": {},
                    "weights": [weight, -1.0],
                }
            },
            "response_types": {"K-R": "comply", "K-C": "comply", "None": "comply"},
            "few_shot": 0,
            "grader": identify_grader(shipped("grader"), SANDBOX.grader),
            "reward_model": model_fingerprint(shipped("helpful_reward_model")),
        }
    )


def asset_of(variant: str) -> dg.AssetsDefinition:
    return sft_checkpoint if variant == "sft" else rl_checkpoints[variant]


def wanted_job(project: Project, variant: str) -> Any:
    """Returns the job that the asset passes to the trainer; fails if the checkpoint exists already."""
    with pytest.raises(TrainingWanted) as trainer_called:
        project.make(asset_of(variant))
    return trainer_called.value.job


def put(directory: str, *, weights: Path = POLICY) -> None:
    """Writes a checkpoint as a training would."""
    shutil.copytree(weights, directory)
    curve = {"step": [1, 2, 1], "metric": ["loss", "loss", "kl"], "value": [2.0, 1.0, None]}
    pl.DataFrame(curve).write_parquet(Path(directory) / "metrics.parquet")


def make_existing(project: Project, variant: str) -> dg.MaterializeResult:
    """Writes the checkpoint of a variant, and makes the asset, which finds it."""
    put(wanted_job(project, variant).output)
    return project.make(asset_of(variant))


# Training jobs


def test_fine_tuning_trains_the_helpful_policy_on_the_ideal_replies(ready: Project) -> None:
    job = wanted_job(ready, "sft")
    assert (job.kind, job.name) == ("sft", "sft_checkpoint")
    assert job.model == shipped("policy")
    assert (job.settings.epochs, job.settings.max_length) == (1, 192)
    rows = pl.read_parquet(job.data)
    assert sorted((prompt[0]["content"], text) for prompt, text in rows.select("prompt", "completion").rows()) == [
        (WILL, REFUSAL),
        (EGG, ANSWER),
        (WALLET, REFUSAL),
    ]
    assert set(rows.columns) == {"prompt", "completion"}


@pytest.mark.parametrize("variant", ["helpful", "human"])
def test_a_baseline_is_rewarded_by_its_reward_model_alone(variant: str, ready: Project) -> None:
    job = wanted_job(ready, variant)
    assert (job.kind, job.name) == ("grpo", f"rl_checkpoint/{variant}")
    assert job.model == shipped("policy")
    assert job.reward.reward_model.path == f"rbr_sandbox/models/{variant}_reward_model"
    assert job.reward.artifact is None and job.reward.grader is None
    rows = pl.read_parquet(job.data)
    assert rows.columns == ["prompt", "category"]
    assert rows.height == job.settings.steps * job.settings.prompts_per_step == 2


def test_the_method_is_rewarded_by_rules_and_reward_model_and_starts_from_the_fine_tuned_policy(tuned: Project) -> None:
    job = wanted_job(tuned, "rbr")
    sft = read_checkpoint(tuned.store, "sft")
    assert job.model == ModelRef(path=str(tuned.artifacts.absolute(sft.path)), revision=None)
    assert job.reward.reward_model.path == "rbr_sandbox/models/helpful_reward_model"
    assert job.reward.grader == shipped("grader")
    assert job.reward.grader_settings.batch_size == 1024
    assert RewardArtifact.load(job.reward.artifact) == _reward()


def test_a_job_keeps_its_reward_when_a_newer_one_replaces_the_current(tuned: Project) -> None:
    job = wanted_job(tuned, "rbr")
    _reward(weight=2.0).save(tuned.artifacts.reward)
    assert RewardArtifact.load(job.reward.artifact) == _reward()


def test_the_model_behind_a_server_is_checked_before_the_training_starts(tuned: Project) -> None:
    answers = {"p_yes": 0.5}
    server = JudgeServer(lambda request: answer(probabilities(answers["p_yes"])))
    with tuned.profile.open("a", encoding="utf-8") as profile:
        address = f"http://127.0.0.1:{server.port}/v1"
        profile.write(f"grader: {{backend: openai, base_url: '{address}', model_name: grader}}\n")
    tuned.snapshots("profile/grader", "models/grader")
    wanted_job(tuned, "rbr")
    assert tuned.store.read("canary_answers").height == 40
    grader_canary._checked.clear()
    answers["p_yes"] = 0.9
    with pytest.raises(InputError, match="the model behind the name 'grader' has changed"):
        tuned.make(rl_checkpoints["rbr"])
    wanted_job(tuned, "helpful")
    server.kill()


def test_the_method_needs_a_fine_tuned_policy(ready: Project) -> None:
    with pytest.raises(RuntimeError, match=r"sft has no checkpoint yet\. Materialize its checkpoint first"):
        ready.make(rl_checkpoints["rbr"])


# Existing checkpoints


def test_a_checkpoint_that_exists_is_found_and_becomes_the_current_one(ready: Project) -> None:
    job = wanted_job(ready, "helpful")
    put(job.output)
    result = ready.make(rl_checkpoints["helpful"])
    assert result.metadata is not None
    assert result.metadata["trained"] is False
    assert result.metadata["training rows"] == 2
    assert result.metadata["checkpoint"].value == job.output
    assert result.metadata["curves"].value.startswith("![training curves](data:image/png;base64,")
    checkpoint = read_checkpoint(ready.store, "helpful")
    assert checkpoint.path == f"checkpoints/helpful/{checkpoint.checkpoint}"
    assert str(ready.artifacts.absolute(checkpoint.path)) == job.output
    assert result.metadata["fingerprint"] == checkpoint.fingerprint
    curve = ready.store.read("training_metrics").select("variant", "checkpoint", "step", "metric", "value")
    assert curve.rows() == [
        ("helpful", checkpoint.checkpoint, 1, "kl", None),
        ("helpful", checkpoint.checkpoint, 1, "loss", 2.0),
        ("helpful", checkpoint.checkpoint, 2, "loss", 1.0),
    ]


def test_a_checkpoint_has_one_mlflow_run_even_if_it_is_made_twice(ready: Project) -> None:
    first, second = make_existing(ready, "human"), ready.make(rl_checkpoints["human"])
    assert first.metadata is not None and second.metadata is not None
    run_id = first.metadata["mlflow run"]
    assert second.metadata["mlflow run"] == run_id == read_checkpoint(ready.store, "human").mlflow_run_id
    assert version(first) == version(second)
    run = _mlflow(ready.resources["tracking"]).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["rbr.variant"] == "human"
    assert run.data.tags["rbr.fingerprint"] == first.metadata["fingerprint"]
    assert run.data.params["steps"] == "1"
    assert run.data.metrics["loss"] == 1.0


def _mlflow(tracking: Tracking) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri)


def test_a_reverted_edit_finds_its_checkpoint_again(ready: Project) -> None:
    before = version(make_existing(ready, "helpful"))
    ready.edit("profiles/current.yaml", "rl: {steps: 1,", "rl: {steps: 2,")
    ready.snapshots("profile/rl")
    assert version(make_existing(ready, "helpful")) != before
    longer = read_checkpoint(ready.store, "helpful").checkpoint
    ready.edit("profiles/current.yaml", "rl: {steps: 2,", "rl: {steps: 1,")
    ready.snapshots("profile/rl")
    result = ready.make(rl_checkpoints["helpful"])
    assert version(result) == before
    assert read_checkpoint(ready.store, "helpful").checkpoint != longer
    assert ready.store.read("checkpoints").height == 2
    assert ready.store.read("current_checkpoints").height == 1


@pytest.mark.slow
def test_the_state_directory_can_be_moved(ready: Project, tmp_path: Path) -> None:
    before = version(make_existing(ready, "helpful"))
    moved = ready.copy(tmp_path / "moved")
    shutil.rmtree(ready.root)
    assert version(moved.make(rl_checkpoints["helpful"])) == before


@pytest.mark.slow
def test_other_weights_under_the_same_inputs_are_another_version(ready: Project, tmp_path: Path) -> None:
    job = wanted_job(ready, "helpful")
    put(job.output)
    before = version(ready.make(rl_checkpoints["helpful"]))
    shutil.rmtree(job.output)
    put(job.output, weights=OTHER_WEIGHTS)
    assert version(ready.make(rl_checkpoints["helpful"])) != before


# What a checkpoint depends on

BEHAVIOR, PROFILE, BASE = "rulebook/behavior.yaml", "profiles/current.yaml", "profiles/sandbox.yaml"


@pytest.fixture(scope="module")
def settled(_tuned: Project) -> dict[str, str]:
    """Paths of the checkpoints of a tuned project."""
    return checkpoint_paths(_tuned)


def checkpoint_paths(project: Project) -> dict[str, str]:
    """Returns the path of each variant's checkpoint, for the rows and snapshots that are stored now."""
    outputs = {}
    for variant in ("sft", *VARIANTS):
        try:
            project.make(asset_of(variant))
            outputs[variant] = str(project.artifacts.absolute(read_checkpoint(project.store, variant).path))
        except TrainingWanted as wanted:
            outputs[variant] = wanted.job.output
    return {variant: str(Path(output).relative_to(project.root)) for variant, output in outputs.items()}


def test_an_edit_of_the_rulebook_reaches_checkpoints_only_through_the_reward_or_the_ideal_replies(
    tuned: Project, settled: dict[str, str]
) -> None:
    tuned.edit(BEHAVIOR, "{perfect_refusal: 1.0}", "{perfect_refusal: 2.0}")
    tuned.edit(BEHAVIOR, "features: [apology, meta_commentary]", "features: [apology]")
    tuned.edit("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
    tuned.edit("rulebook/synthesis.yaml", "[Answer in full.]", "[Answer only in part.]")
    tuned.edit("rulebook/content_policy.yaml", "explain or describe it?\n    response_type: comply",
               "explain or describe it?\n    response_type: hard_refusal")  # fmt: skip
    rulebook = [f"rulebook/{part}" for part in ("propositions", "synthesis", "behavior", "content_policy")]
    tuned.snapshots(*rulebook, "rulebook/applicability")
    assert checkpoint_paths(tuned) == settled


def _edit(file: str, old: str, new: str, snapshot: str) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        project.edit(file, old, new)
        project.snapshots(snapshot)

    return edit


def _swap_tuned_weights(project: Project) -> None:
    directory = project.artifacts.absolute(read_checkpoint(project.store, "sft").path)
    shutil.rmtree(directory)
    put(str(directory), weights=OTHER_WEIGHTS)


def _change_template(project: Project) -> None:
    template = project.root / "judge.jinja"
    text = SANDBOX.grader.prompt_template
    template.write_text(text.replace("Read the conversation", "First read the conversation"), encoding="utf-8")
    assert template.read_text(encoding="utf-8") != text
    _edit(PROFILE, "extends: sandbox", f"extends: sandbox\ngrader: {{prompt_template: {template}}}", "profile/grader")(
        project
    )


MOVED: dict[str, tuple[Callable[[Project], Any], set[str]]] = {
    "the reward": (lambda project: _reward(weight=2.0).save(project.artifacts.reward), {"rbr"}),
    "an ideal reply": (lambda project: project.fill("ideal_completions", ideal("Sorry, but I won't.")), {"sft"}),
    "a training prompt": (
        lambda project: project.fill("training_prompts", [training_prompt("Hi.", "None")]), set(VARIANTS)),
    "the fine-tuned weights": (_swap_tuned_weights, {"rbr"}),
    "fine-tuning": (_edit(PROFILE, "sft: {epochs: 1,", "sft: {epochs: 2,", "profile/sft"), {"sft"}),
    "reinforcement learning": (_edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 2,", "profile/rl"), set(VARIANTS)),
    "the grader's tokens": (_edit(BASE, 'no: ["no", ', "no: [", "profile/grader"), {"rbr"}),
    "the share of replies without a reward": (
        _edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 1, max_unscored: 0.5,", "profile/rl"), set()),
    "the saved states": (_edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 1, save_steps: 1,", "profile/rl"), set()),
    # The sandbox's grader runs in this process, and answers every question.
    "refusals": (_edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 1, on_refusal: mask,", "profile/rl"), set()),
    "the grader's prompt": (_change_template, {"rbr"}),
    "the grader's smallest mass": (_edit(BASE, "min_mass: 0.5", "min_mass: 0.6", "profile/grader"), {"rbr"}),
    "the grader's batches": (_edit(BASE, "batch_size: 1024", "batch_size: 512", "profile/grader"), set()),
    "the human preferences": (
        _edit(BASE, "human_reward_model: {path: rbr_sandbox/models/human_",
              "human_reward_model: {path: rbr_sandbox/models/helpful_", "models/human_reward_model"), {"human"}),
}  # fmt: skip


ON_REFUSAL = _edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 1, on_refusal: mask,", "profile/rl")


@pytest.fixture
def judge() -> Iterator[JudgeServer]:
    server = JudgeServer(lambda request: good_answer(request.prompt))
    yield server
    server.kill()


def _serve(project: Project, judge: JudgeServer, root: str) -> None:
    """Puts the grader behind a server that lists a model with this root."""
    served = {"id": "judge", "root": root}
    judge.models = Reply(200, {"data": [served]})
    settings = {**project.store.snapshot("profile/grader"), "backend": "openai"}
    settings |= {"base_url": f"http://127.0.0.1:{judge.port}/v1", "model_name": "judge"}
    project.store.save_snapshot("profile/grader", settings, content_hash(settings))
    model = {**dict.fromkeys([*ModelRef.model_fields, "fingerprint"]), "served": served}
    project.store.save_snapshot("models/grader", model, content_hash(model))


@pytest.mark.parametrize(
    ("edit", "moved"),
    [
        (lambda project, judge: ON_REFUSAL(project), {"rbr"}),
        (lambda project, judge: _serve(project, judge, root="/models/b"), {"rbr"}),
        (lambda project, judge: _serve(project, judge, root="/models/a"), set()),
    ],
    ids=["refusals", "another model behind the same name", "the same model"],
)
def test_a_judge_on_a_server_counts_by_what_it_serves_and_by_what_becomes_of_its_refusals(
    edit: Callable[[Project, JudgeServer], None], moved: set[str], tuned: Project, judge: JudgeServer
) -> None:
    _serve(tuned, judge, root="/models/a")
    before = checkpoint_paths(tuned)
    edit(tuned, judge)
    after = checkpoint_paths(tuned)
    assert {variant for variant in after if after[variant] != before[variant]} == moved


def test_the_trainer_gets_what_becomes_of_refusals(tuned: Project) -> None:
    assert wanted_job(tuned, "rbr").reward.on_refusal == "worst"
    tuned.edit(PROFILE, "rl: {steps: 1,", "rl: {steps: 1, on_refusal: mask,")
    tuned.snapshots("profile/rl")
    assert wanted_job(tuned, "rbr").reward.on_refusal == "mask"


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("chat_template_kwargs: {enable_thinking: false}", "chat_template_kwargs", {"enable_thinking": False}),
        ("dtype: bfloat16", "dtype", "bfloat16"),
    ],
)
def test_the_template_arguments_and_the_type_of_a_policy_count_and_the_trained_policy_keeps_them(
    ready: Project, setting: str, name: str, value: object
) -> None:
    before = wanted_job(ready, "helpful").output
    ready.edit(BASE, "policy: {path: rbr_sandbox/models/policy,",
               f"policy: {{{setting}, path: rbr_sandbox/models/policy,")  # fmt: skip
    ready.snapshots("models/policy")
    job = wanted_job(ready, "helpful")
    assert job.output != before
    put(job.output)
    ready.make(rl_checkpoints["helpful"])
    trained = read_checkpoint(ready.store, "helpful").model(ready.artifacts)
    assert getattr(job.model, name) == getattr(trained.ref, name) == value
    assert trained.fingerprint == model_fingerprint(trained.ref)


def test_the_state_of_a_training_has_a_place_of_its_own_below_the_state_directory(ready: Project) -> None:
    states = {Path(wanted_job(ready, variant).saved_state) for variant in ("helpful", "human")}
    assert len(states) == 2
    assert all(ready.root / "state" in state.parents and not state.exists() for state in states)


SECONDS_EACH = {
    "the share of replies without a reward",
    "the saved states",
    "refusals",
    "the grader's prompt",
    "the grader's smallest mass",
    "a training prompt",
    "the grader's tokens",
    "fine-tuning",
    "the grader's batches",
    "the human preferences",
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.slow) if what in SECONDS_EACH else what for what in MOVED]
)
def test_an_edit_changes_exactly_the_checkpoints_that_read_it(
    what: str, tuned: Project, settled: dict[str, str]
) -> None:
    edit, moved = MOVED[what]
    edit(tuned)
    after = checkpoint_paths(tuned)
    assert {variant for variant in after if after[variant] != settled[variant]} == moved


# Real trainings


@pytest.mark.slow
def test_every_checkpoint_trains_and_is_trained_once(ready: Project) -> None:
    from rbr.models.policy import Policy

    trained = _materialize(ready, sft_checkpoint, *rl_checkpoints.values())
    assert set(trained) == {"sft_checkpoint", *(f"rl_checkpoint/{variant}" for variant in VARIANTS)}
    assert all(metadata["trained"].value for metadata in trained.values())
    checkpoints = [read_checkpoint(ready.store, variant) for variant in ("sft", *VARIANTS)]
    assert len({checkpoint.fingerprint for checkpoint in checkpoints}) == 4
    for checkpoint in checkpoints:
        policy = Policy(ModelRef(path=str(ready.artifacts.absolute(checkpoint.path)), revision=None), batch_size=1)
        (reply,) = policy.sample([user(BREAD)], [0], 1.0, 1.0, 8)
        assert reply.n_tokens > 0
    metrics = ready.store.read("training_metrics")
    assert set(metrics["variant"]) == {"sft", *VARIANTS}
    assert {"reward", "kl"} <= set(metrics.filter(variant="rbr")["metric"])
    again = _materialize(ready, sft_checkpoint, *rl_checkpoints.values())
    assert not any(metadata["trained"].value for metadata in again.values())
    assert ready.store.read("checkpoints").height == 4


@pytest.mark.slow
def test_training_again_from_the_same_inputs_gives_the_same_weights(ready: Project) -> None:
    _materialize(ready, sft_checkpoint)
    first = read_checkpoint(ready.store, "sft")
    shutil.rmtree(ready.artifacts.absolute(first.path))
    (metadata,) = _materialize(ready, sft_checkpoint).values()
    assert metadata["trained"].value
    assert metadata["fingerprint"].value == first.fingerprint


def _materialize(project: Project, *assets: dg.AssetsDefinition) -> dict[str, Any]:
    """Makes assets with the real trainer, which needs a Dagster run; returns the metadata by asset."""
    trainer = Trainer(directory=str(project.root / "state" / "trainer"))
    names = {name for asset in assets for name in asset.required_resource_keys}
    resources = {name: value for name, value in {**project.resources, "trainer": trainer}.items() if name in names}
    result = dg.materialize([*assets], resources=resources)
    return {
        materialization.asset_key.to_user_string(): materialization.metadata
        for event in result.get_asset_materialization_events()
        for materialization in [event.step_materialization_data.materialization]
    }


# The check of the rollouts


@pytest.mark.parametrize(
    ("unscored", "passed", "description"),
    [
        ([0.0, 0.0], True, "0% of the rollouts got no reward."),
        ([0.2, 0.0], True, "10% of the rollouts got no reward."),
        ([0.3, 0.0], False, "15% of the rollouts got no reward. The bar is 10% (rl.max_unscored): the policy has not"),
        ([1.0, 1.0], False, "100% of the rollouts got no reward."),
        ([0.0, None], False, "Undecided: The training did not record for every step how many rollouts got a reward."),
        ([], False, "Undecided: The training did not record for every step how many rollouts got a reward."),
    ],
)
def test_a_policy_that_learned_without_rewards_does_not_pass(
    unscored: list[float | None], passed: bool, description: str, ready: Project
) -> None:
    directory = wanted_job(ready, "helpful").output
    put(directory)
    curve = {"step": list(range(1, len(unscored) + 1)), "metric": ["unscored"] * len(unscored), "value": unscored}
    schema = {"step": pl.Int64, "metric": pl.String, "value": pl.Float64}
    pl.DataFrame(curve, schema=schema).write_parquet(Path(directory) / "metrics.parquet")
    outcome = check(ready.make(asset_of("helpful")), "rollouts_have_a_reward")
    assert (outcome.passed, outcome.severity) == (passed, dg.AssetCheckSeverity.ERROR)
    assert outcome.description is not None
    assert outcome.description.startswith(description)
    assert (directory in outcome.description) != passed
