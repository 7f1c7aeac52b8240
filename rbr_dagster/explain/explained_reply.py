"""`rbr explain`: computes the grades, the class and the reward of one reply with the fitted reward."""

import json
from dataclasses import dataclass

import numpy as np

from rbr.conversation import Conversation, Message
from rbr.errors import InputError
from rbr.grading import Grader, Question
from rbr.reward.artifact import RewardArtifact
from rbr.reward.explanation import Explanation, explain
from rbr.rulebook import ContentPolicy
from rbr_dagster.environment import Environment
from resources.models import Models, RewardModelInUse, grader_in_use
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot


@dataclass(frozen=True)
class ExplainedReply:
    """A reply with the explanation of its reward.

    Attributes:
        prompt: Messages of the conversation. The last message is from the user.
        reply: Text of the reply.
        category: Content category of the prompt.
        p_category: P(yes) of the category; None if the category was given and the grader was not asked.
        response_type: Response type of the category.
        explanation: Grades, class probabilities and terms of the reward.
    """

    prompt: Conversation
    reply: str
    category: str
    p_category: float | None
    response_type: str
    explanation: Explanation


def explain_text(environment: Environment, prompt: str, reply: str, category: str | None) -> ExplainedReply:
    """Explains the reward of a reply to a single user turn.

    Args:
        environment: Environment with a fitted reward.
        prompt: The user turn.
        reply: The assistant's reply.
        category: Content category of the prompt; None asks the grader for the most probable category.

    Raises:
        InputError: No reward was fitted yet, the category is unknown, or a model cannot be opened.
    """
    return _explain(environment, [Message(role="user", content=prompt)], reply, category)


def explain_completion(environment: Environment, completion: str) -> ExplainedReply:
    """Explains the reward of a reply that the pipeline sampled.

    Args:
        environment: Environment with a fitted reward.
        completion: Id of the completion, or the first letters of the id.

    Raises:
        InputError: No completion or several completions match the id, the prompt is no longer in the data, no reward
            was fitted yet, or a model cannot be opened.
    """
    store = environment.store
    # Two rows are enough to see that several completions match.
    rows = store.query(
        "SELECT completion_id, prompt_id, text FROM completions WHERE starts_with(completion_id, ?) LIMIT 2",
        [completion],
    )
    if rows.height != 1:
        what = "unknown completion" if rows.is_empty() else "several completions begin with"
        hint = "The tables synthetic_comparisons and evaluation_completions contain the ids."
        raise InputError(f"{what} {completion!r}", where=str(environment.home), hint=hint)
    row = rows.row(0, named=True)
    prompts = store.read("labeled_prompts", "prompt_id = ?", [row["prompt_id"]])
    if prompts.is_empty():
        hint = "Add the prompt to the data file again, or give --prompt and --reply."
        raise InputError(f"the prompt of completion {row['completion_id']} is no longer in the data", hint=hint)
    messages = json.loads(prompts["messages"][0])
    return _explain(environment, messages, row["text"], prompts["category"][0])


def _explain(environment: Environment, prompt: Conversation, reply: str, category: str | None) -> ExplainedReply:
    artifact = RewardArtifact.load(environment.artifacts.reward)
    _hide_progress_bars()
    store, models = environment.store, Models()
    grader = models.open_grader(grader_in_use(store))
    # 1. Find the category of the prompt. It decides the response type.
    p_category = None
    if category is None:
        category, p_category = _most_probable_category(store, grader, prompt)
    else:
        _check_category(store, category)
    response_type = artifact.response_types[category]
    # 2. Read R_rm from the reward model.
    reward_model = models.open_reward_model(RewardModelInUse(read_model(store, "helpful_reward_model")))
    (r_rm,) = reward_model.score([prompt], [reply])
    # 3. Read P(yes) of each proposition that the response type needs, shape (propositions,).
    rules = artifact.rules.get(response_type)
    conversation = [*prompt, Message(role="assistant", content=reply)]
    p_yes = grader.grade([conversation], artifact.questions_of(response_type))[0] if rules else np.empty(0)
    return ExplainedReply(prompt, reply, category, p_category, response_type, explain(rules, p_yes, float(r_rm)))


def _hide_progress_bars() -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _most_probable_category(store: Store, grader: Grader, prompt: Conversation) -> tuple[str, float]:
    """Returns the category with the highest P(yes), and its P(yes). An unreadable answer counts as 0."""
    categories = read_snapshot(store, ContentPolicy).categories
    questions = [Question(code, entry.question) for code, entry in categories.items()]
    p_yes = np.nan_to_num(grader.grade([prompt], questions)[0])
    best = int(p_yes.argmax())
    return questions[best].name, float(p_yes[best])


def _check_category(store: Store, category: str) -> None:
    categories = read_snapshot(store, ContentPolicy).categories
    if category not in categories:
        hint = f"Use one of {', '.join(categories)}."
        raise InputError(f"unknown category {category!r}", where="--category", hint=hint)
