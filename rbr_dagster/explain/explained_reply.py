"""`rbr explain`: computes the grades, the class and the reward of one reply.

Before a reward was fitted, the class is computed all the same, from the rules and the grades.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rbr.classes.features import feature_map
from rbr.conversation import Conversation, Message
from rbr.errors import InputError, spelling_hint
from rbr.grading import Answer, Answers, Grader, Outcome, Question
from rbr.models.fingerprint import model_fingerprint
from rbr.reward.explanation import Explanation, explain, explain_without_weights
from rbr.reward.trl import check_fitted_with
from rbr.thoughts import Reply, reply_of_text
from rbr_dagster.environment import Environment
from rbr_dagster.explain.found_category import find_category
from rbr_dagster.explain.rules_in_use import RulesInUse, RuleSource, find_rules
from resources.models import Models, RewardModelInUse
from resources.store import Store
from resources.store.snapshot_content import PinnedModel


@dataclass(frozen=True)
class ExplainedReply:
    """A reply with the explanation of its reward.

    Attributes:
        prompt: Messages of the conversation. The last message is from the user.
        reply: Text of the reply, without thoughts.
        category: Content category of the prompt.
        p_category: P(yes) of the category; None if the category was given and the grader was not asked.
        response_type: Response type of the category.
        source: Where the rules come from: the fitted reward, the last run, or the files.
        explanation: Grades, class probabilities and terms of the reward.
        r_rm_problem: Why R_rm could not be computed; None if the reward model was opened.
        output: The text that the user gave, split into the reply and its thoughts; None for a stored reply.
        without_grade: Answers without a grade, by proposition: what became of the question, and why.
    """

    prompt: Conversation
    reply: str
    category: str
    p_category: float | None
    response_type: str
    source: RuleSource
    explanation: Explanation
    r_rm_problem: str | None
    output: Reply | None = None
    without_grade: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether every question got an answer. A refusal and an unreadable answer are answers."""
        return all(answer.outcome != Outcome.NOT_ANSWERED for answer in self.without_grade.values())


def explain_text(environment: Environment, prompt: str, reply: str, category: str | None) -> ExplainedReply:
    """Explains the reward of a reply to a single user turn.

    Args:
        environment: State directory, profile and rulebook.
        prompt: The user turn.
        reply: The assistant's reply. A thought before it is left out: see `rbr.thoughts`.
        category: Content category of the prompt; None asks the grader for it.

    Raises:
        InputError: The prompt is empty, the category is unknown, the grader finds none, or a model cannot be opened.
    """
    if not prompt.strip():
        raise InputError("the prompt has no text", where="--prompt", hint="Write what the user asks.")
    output = reply_of_text(reply)
    explained = _explain(environment, [Message(role="user", content=prompt)], output.text, category)
    return replace(explained, output=output)


def explain_completion(environment: Environment, completion: str, category: str | None) -> ExplainedReply:
    """Explains the reward of a reply that the pipeline sampled.

    Args:
        environment: State directory, profile and rulebook.
        completion: Id of the completion, or the first letters of the id.
        category: Content category of the prompt; None takes the stored category.

    Raises:
        InputError: No completion or several completions match the id, the prompt is no longer in the data or has no
            category, the category is unknown, or a model cannot be opened.
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
    prompt = _stored_prompt(store, row["prompt_id"], row["completion_id"])
    category = category or prompt["category"]
    if category is None:
        raise InputError(
            f"the prompt of completion {row['completion_id']} is quarantined: {prompt['reason']}",
            where=str(environment.home),
            hint="Give the category of the prompt with --category.",
        )
    return _explain(environment, json.loads(prompt["messages"]), row["text"], category)


def _stored_prompt(store: Store, prompt_id: str, completion_id: str) -> dict[str, str | None]:
    """Returns messages (JSON) and category of a prompt. A quarantined prompt has no category, and the reason for it."""
    labeled = store.read("labeled_prompts", "prompt_id = ?", [prompt_id])
    if not labeled.is_empty():
        return labeled.row(0, named=True)
    quarantined = store.read("quarantined_prompts", "prompt_id = ?", [prompt_id])
    if not quarantined.is_empty():
        return {**quarantined.row(0, named=True), "category": None}
    hint = "Add the prompt to the data file again, or give --prompt and --reply."
    raise InputError(f"the prompt of completion {completion_id} is no longer in the data", hint=hint)


def _explain(environment: Environment, prompt: Conversation, reply: str, category: str | None) -> ExplainedReply:
    rules = find_rules(environment)
    if rules.artifact is not None:
        check_fitted_with(rules.artifact, rules.reward_model, rules.grader.ref, rules.grader.settings)
    if category is not None:
        _check_category(rules, category)
    _hide_progress_bars()
    models = Models()
    grader = models.open_grader(rules.grader)
    # 1. Find the category of the prompt. It decides the response type.
    p_category = None
    if category is None:
        category, p_category = find_category(grader, prompt, rules.content_policy, rules.grader.settings.category_bar)
    # 2. Read R_rm from the reward model.
    r_rm, r_rm_problem = _score(models, rules, prompt, reply)
    # 3. Read P(yes) of each proposition that the response type needs, and add up the terms.
    response_type = _response_type(rules, category)
    conversation = [*prompt, Message(role="assistant", content=reply)]
    explanation, answers = _graded(rules, response_type, grader, conversation, r_rm)
    without_grade = {
        grade.proposition: answers[0, column] for column, grade in enumerate(explanation.grades) if grade.p_yes is None
    }
    return ExplainedReply(
        prompt,
        reply,
        category,
        p_category,
        response_type,
        rules.source,
        explanation,
        r_rm_problem,
        without_grade=without_grade,
    )


def _hide_progress_bars() -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def _check_category(rules: RulesInUse, category: str) -> None:
    categories = rules.content_policy.categories
    if category not in categories:
        hint = spelling_hint(category, categories)
        raise InputError(f"unknown category {category!r}", where="--category", hint=hint)


def _response_type(rules: RulesInUse, category: str) -> str:
    if rules.artifact is None:
        return rules.content_policy.response_type(category)
    if category not in rules.artifact.response_types:
        raise InputError(
            f"the reward was fitted before the category {category} was in the content policy",
            where="rulebook/content_policy",
            hint="Run `rbr run`, so that the reward is fitted again.",
        )
    return rules.artifact.response_types[category]


def _score(models: Models, rules: RulesInUse, prompt: Conversation, reply: str) -> tuple[float, str | None]:
    """Returns R_rm, or NaN and the reason why there is none.

    If a reward was fitted, R_tot needs the reward model, so a model that cannot be opened is an error.
    """
    try:
        fingerprint = model_fingerprint(rules.reward_model, writes=False)
        model = models.open_reward_model(RewardModelInUse(PinnedModel(rules.reward_model, fingerprint)))
    except InputError as error:
        if rules.artifact is not None:
            raise
        return float("nan"), f"{error.where}: {error.what}" if error.where else error.what
    (score,) = model.score([prompt], [reply])
    too_long = "prompt and reply are longer than the context of the reward model"
    return float(score), too_long if np.isnan(score) else None


def _graded(
    rules: RulesInUse, response_type: str, grader: Grader, conversation: Conversation, r_rm: float
) -> tuple[Explanation, Answers]:
    """Asks the grader about the reply, and explains the reward from the answers."""
    if rules.artifact is not None:
        answers = grader.grade([conversation], rules.artifact.questions_of(response_type))
        p_yes = answers.p_yes[0]  # [propositions]
        declared = rules.behavior.response_types.get(response_type)
        signs = declared.signs if declared else None
        return explain(rules.artifact.rules[response_type], p_yes, r_rm, signs), answers
    features = feature_map(rules.behavior, response_type, accepted=rules.accepted, thresholds=rules.thresholds)
    entries = [(name, rules.propositions[name]) for name in features.propositions]
    questions = [Question(name, entry.question, entry.examples) for name, entry in entries]
    answers = grader.grade([conversation], questions)
    return explain_without_weights(features, answers.p_yes[0], r_rm), answers
