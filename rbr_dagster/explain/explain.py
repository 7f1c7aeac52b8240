"""`rbr explain`: one reply's grades, class and reward, under the reward that is stored."""

import json
from dataclasses import dataclass

import numpy as np

from rbr.conversation import Conversation, Message
from rbr.errors import InputError
from rbr.grading import Grader, Question
from rbr.profile import GraderSettings
from rbr.reward.artifact import RewardArtifact
from rbr.reward.explanation import Explanation, explain
from rbr.rulebook import ContentPolicy
from rbr_dagster.environment import Environment
from resources.artifacts import Artifacts
from resources.models import Models
from resources.store import Store
from resources.stored_inputs import read_model, read_snapshot


@dataclass(frozen=True)
class Explained:
    """A reply with the explanation of its reward.

    Attributes:
        prompt: Messages, the last one the user's.
        reply: The reply.
        category: Content category of the prompt.
        p_category: P(yes) with which the grader found the category; None where it was known.
        response_type: How such prompts are to be answered.
        explanation: The reward, taken apart.
    """

    prompt: Conversation
    reply: str
    category: str
    p_category: float | None
    response_type: str
    explanation: Explanation


def explain_text(environment: Environment, prompt: str, reply: str, category: str | None) -> Explained:
    """Explains a reply to a single user turn.

    Args:
        environment: State directory with a fitted reward.
        prompt: The user's turn.
        reply: The assistant's.
        category: Content category; None lets the grader find it.

    Raises:
        InputError: There is no reward yet, no such category, or a model cannot be opened.
    """
    return _explain(environment, [Message(role="user", content=prompt)], reply, category)


def explain_completion(environment: Environment, completion: str) -> Explained:
    """Explains a reply that the pipeline sampled.

    Args:
        environment: State directory with a fitted reward.
        completion: Its id, or the beginning of it.

    Raises:
        InputError: There is no such completion, more than one, or its prompt is no longer there.
    """
    rows = _store(environment).query(
        "SELECT completion_id, prompt_id, text FROM completions WHERE starts_with(completion_id, ?) LIMIT 2",
        [completion],
    )
    if rows.height != 1:
        what = "there is no completion" if rows.is_empty() else "more than one completion begins with"
        hint = "The tables synthetic_comparisons and evaluation_completions list them."
        raise InputError(f"{what} {completion!r}", where=str(environment.home), hint=hint)
    row = rows.row(0, named=True)
    prompts = _store(environment).read("labeled_prompts", "prompt_id = ?", [row["prompt_id"]])
    if prompts.is_empty():
        hint = "Put the prompt back, or give --prompt and --reply."
        raise InputError(f"the prompt of {row['completion_id']} is no longer in the data", hint=hint)
    messages = json.loads(prompts["messages"][0])
    return _explain(environment, messages, row["text"], prompts["category"][0])


def _explain(environment: Environment, prompt: Conversation, reply: str, category: str | None) -> Explained:
    artifact = RewardArtifact.load(Artifacts(home=str(environment.home)).reward)
    _silence()
    store, models = _store(environment), Models()
    settings = read_snapshot(store, GraderSettings)
    grader = models.grader(read_model(store, "grader").ref, settings)
    category, p_category = _category(store, grader, prompt, category)
    response_type = artifact.response_types[category]
    reward_model = models.reward_model(read_model(store, "helpful_reward_model").ref)
    (r_rm,) = reward_model.score([prompt], [reply])
    rules = artifact.rules.get(response_type)
    judged = [*prompt, Message(role="assistant", content=reply)]
    p_yes = grader.grade([judged], artifact.questions_of(response_type))[0] if rules else np.empty(0)
    return Explained(prompt, reply, category, p_category, response_type, explain(rules, p_yes, float(r_rm)))


def _silence() -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _category(store: Store, grader: Grader, prompt: Conversation, category: str | None) -> tuple[str, float | None]:
    categories = read_snapshot(store, ContentPolicy).categories
    if category is None:
        asked = [Question(code, entry.question) for code, entry in categories.items()]
        answers = np.nan_to_num(grader.grade([prompt], asked)[0])
        best = int(answers.argmax())
        return asked[best].name, float(answers[best])
    if category not in categories:
        hint = f"Use one of {', '.join(categories)}."
        raise InputError(f"there is no category {category!r}", where="--category", hint=hint)
    return category, None


def _store(environment: Environment) -> Store:
    return Store(path=str(environment.home / "rbr.duckdb"))
