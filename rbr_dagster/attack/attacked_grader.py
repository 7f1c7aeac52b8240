"""`rbr attack`: grades gold replies as they are and under attack."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from rbr.classes.checked_gold import load_gold_rows
from rbr.grading import Question
from rbr.profile import load_profile
from rbr.rulebook import load_rulebook, propositions_needed
from rbr.thoughts import thought_notes
from rbr_dagster.environment import Environment
from rbr_dagster.progress_line import ProgressLine
from resources.attacked_replies import attack_gold_replies
from resources.cells import CELLS_MADE, Cells
from resources.models import GraderInUse, Models, grader_in_use, grader_of_profile
from resources.progress import Progress
from resources.store.table_content import read_thresholds


class _ProgressLines(Progress):
    """Shows the progress on the terminal of the command, instead of in files."""

    def bar(self, asset: str, total: int, unit: str) -> ProgressLine:
        return ProgressLine(asset, total, unit)


@dataclass(frozen=True)
class AttackedGrader:
    """The result of `rbr attack`.

    Attributes:
        shifts: One row per attack and proposition, columns `rbr.grading.attacks.SHIFTS_SCHEMA`.
        classes: One row per attack, columns `rbr.grading.attacks.CLASSES_SCHEMA`.
        n_replies: Number of gold replies that were attacked.
        n_asked: Number of questions that the grader was asked. The other answers were stored before.
        has_thresholds: Whether the thresholds are those of the last run. Otherwise they are 0.5.
        thoughts: Sentences about the thoughts in the attacked replies.
    """

    shifts: pl.DataFrame
    classes: pl.DataFrame
    n_replies: int
    n_asked: int
    has_thresholds: bool
    thoughts: Sequence[str] = ()


def attack_grader(environment: Environment, limit: int) -> AttackedGrader:
    """Attacks the grader of the profile on its gold replies. The answers are stored, so none is asked twice.

    Args:
        environment: State directory, profile and rulebook.
        limit: Largest number of gold replies to attack.

    Raises:
        InputError: A file cannot be used, a model cannot be opened, or the grader gave no answer.
    """
    environment.check_profile()
    profile, rulebook = load_profile(environment.profile), load_rulebook(environment.rulebook)
    rows = load_gold_rows(profile.gold_labels, rulebook)
    behavior, policy = rulebook.behavior, rulebook.content_policy
    questions = {
        name: Question(name, proposition.question, proposition.examples)
        for name, proposition in rulebook.propositions.items()
    }
    grader = grader_of_profile(profile.models.grader, profile.grader)
    environment.prepare()
    store = environment.store
    thresholds = read_thresholds(store) if _is_measured(environment, grader) else {}
    cells = Cells(store, Models(), _ProgressLines(directory=environment.progress.directory), "attack")
    by_response_type = {
        name: [questions[asked] for asked in propositions_needed(behavior, name)] for name in behavior.response_types
    }
    attacked = attack_gold_replies(rows, grader, policy, limit)
    grades = cells.grade(attacked.conversations, attacked.questions(by_response_type), grader)
    return AttackedGrader(
        attacked.shifts(grades),
        attacked.class_changes(grades, behavior, thresholds),
        n_replies=len(attacked.rows),
        n_asked=int(cells.work[CELLS_MADE]),
        has_thresholds=bool(thresholds),
        thoughts=tuple(thought_notes(row.output for row in attacked.rows)),
    )


def _is_measured(environment: Environment, grader: GraderInUse) -> bool:
    """Returns whether the stored thresholds are those of this grader."""
    stored = set(environment.store.query("SELECT name FROM snapshots")["name"])
    if not stored >= {"models/grader", "profile/grader"}:
        return False
    return grader_in_use(environment.store).version == grader.version
