"""The training script that `rbr export` writes."""

import json
from pathlib import Path
from string import Template

from pydantic import BaseModel

from rbr.profile import GraderSettings, ModelRef, RlSettings

_MAX_STEPS = 4

_SCRIPT = Template('''\
"""Trains a policy by GRPO with the reward in this directory. Run: python train.py

The script needs rbr-dagster with its training dependencies. It needs no pipeline and no state directory.
"""

import json
from pathlib import Path

import torch
from datasets import Dataset
from trl import GRPOConfig

from rbr.models.pretrained import open_tokenizer
from rbr.profile import GraderSettings, ModelRef, VllmSettings
from rbr.reward.trl import RuleBasedReward
from rbr.training import MaskingGRPOTrainer

HERE = Path(__file__).parent
OUTPUT = HERE / "policy"
# One prompt per line, with its category. Replace the file by your own prompts.
PROMPTS = HERE / "prompts.jsonl"

# The paths of local models are those of the machine that exported the reward. Change them if the models are elsewhere.
# You can train any policy. The weights are valid only for this reward model and this grader: `open` refuses others.
POLICY = $policy
REWARD_MODEL = $reward_model
GRADER = $grader
GRADER_SETTINGS = $grader_settings

STEPS = $steps  # The profile says $profile_steps.
PROMPTS_PER_STEP = $prompts_per_step
REPLIES_PER_PROMPT = $replies_per_prompt

on_gpu = torch.cuda.is_available()
# If the grader's content filter refuses to judge a reply, "worst" gives the reply the lowest reward of the rules, and
# "mask" leaves it out of the loss.
reward = RuleBasedReward.open(HERE, REWARD_MODEL, GRADER, GRADER_SETTINGS, on_refusal="$on_refusal")
rows = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
config = GRPOConfig(
    output_dir=str(OUTPUT),
    max_steps=STEPS,
    per_device_train_batch_size=REPLIES_PER_PROMPT,
    gradient_accumulation_steps=PROMPTS_PER_STEP,
    num_generations=REPLIES_PER_PROMPT,
    max_completion_length=$max_completion_length,
    temperature=$temperature,
    top_p=$top_p,
    learning_rate=$learning_rate,
    beta=$beta,  # Weight of the KL divergence from the policy before training.
    scale_rewards="$scale_rewards",  # "batch" keeps the fitted scale of the reward across prompts.
    loss_type="dapo",
    seed=$seed,
    model_init_kwargs=$model_arguments,
    chat_template_kwargs=POLICY.chat_template_kwargs,
    use_cpu=not on_gpu,
    bf16=on_gpu and torch.cuda.is_bf16_supported(),
    logging_steps=1,
    report_to="none",
    save_strategy="no",
)
# MaskingGRPOTrainer is TRL's GRPOTrainer. It leaves replies whose reward is unknown out of the loss.
trainer = MaskingGRPOTrainer(
    POLICY.path, reward, args=config, train_dataset=Dataset.from_list(rows), processing_class=open_tokenizer(POLICY)
)
trainer.train()
trainer.save_model()
print(f"Wrote {OUTPUT}")
''')


def train_script(
    policy: ModelRef, reward_model: ModelRef, grader: ModelRef | None, grader_settings: GraderSettings, rl: RlSettings
) -> str:
    """Returns the text of `train.py`, with the models and settings as constants.

    Args:
        policy: The policy to train. A local model has an absolute path.
        reward_model: The reward model R_rm.
        grader: The grader that answers the propositions; None if a server has it.
        grader_settings: Section `grader` of the profile.
        rl: Section `rl` of the profile. The script trains at most four steps, to show that everything works.
    """
    model_arguments = {"dtype": "float32", "use_safetensors": True, "trust_remote_code": False}
    if policy.revision is not None:
        model_arguments["revision"] = policy.revision
    return _SCRIPT.substitute(
        policy=_call(policy),
        reward_model=_call(reward_model),
        grader=_literal(grader),
        grader_settings=_call(grader_settings, indented=True),
        steps=min(rl.steps, _MAX_STEPS),
        profile_steps=rl.steps,
        prompts_per_step=rl.prompts_per_step,
        replies_per_prompt=rl.num_generations,
        max_completion_length=rl.max_completion_length,
        temperature=rl.temperature,
        top_p=rl.top_p,
        learning_rate=rl.learning_rate,
        beta=rl.beta,
        scale_rewards=rl.scale_rewards,
        on_refusal=rl.on_refusal,
        seed=rl.seed,
        model_arguments=_literal(model_arguments),
    )


def absolute(ref: ModelRef) -> ModelRef:
    """Returns a local model with its absolute path, and a Hub id unchanged."""
    return ref.model_copy(update={"path": str(Path(ref.path).resolve())}) if Path(ref.path).is_dir() else ref


def _call(model: BaseModel, indented: bool = False) -> str:
    """Returns the Python expression that builds a section of a profile."""
    arguments = [f"{name}={_literal(value)}" for name, value in model]
    if indented:
        return f"{type(model).__name__}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    return f"{type(model).__name__}({', '.join(arguments)})"


def _literal(value: object) -> str:
    """Returns a Python literal with double quotes; a part of a profile becomes a call."""
    if isinstance(value, BaseModel):
        return _call(value)
    if isinstance(value, str):
        # JSON text is also a Python literal.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(entry)}' for key, entry in value.items())}}}"
    return repr(value)
