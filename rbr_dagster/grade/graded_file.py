"""`rbr grade`: asks a grader about the replies of a file, and writes a table of grades."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import InputError, Location, printable, spelling_hint
from rbr.files.grade_table import GradeRow, GradeTable, check_table_path
from rbr.files.reply_table import ReplyRow, load_replies
from rbr.files.table_file import TableProblems
from rbr.grading import Answers, Grader, Outcome, Question, open_grader, question_hash
from rbr.grading.canary import ModelChanged
from rbr.grading.canary_probes import CONVERSATIONS
from rbr.grading.chunks import conversations_per_chunk
from rbr.grading.identity import identify_grader, model_behind
from rbr.hashing import content_hash
from rbr.profile import GraderSettings, Profile
from rbr.rulebook import Rulebook, propositions_needed
from rbr.thoughts import thought_notes
from rbr_dagster.grade.table_canary import check_table_canary
from rbr_dagster.progress_line import ProgressLine


@dataclass(frozen=True)
class Cell:
    """A question about a reply.

    Attributes:
        reply: The reply.
        question: The question.
        conversation_hash: Hash of the conversation.
        question_hash: Hash of the question with its examples.
    """

    reply: ReplyRow
    question: Question
    conversation_hash: str
    question_hash: str

    @property
    def key(self) -> tuple[str, str]:
        """Id of the reply and name of the proposition: the key of the table."""
        return self.reply.reply_id, self.question.name


@dataclass(frozen=True)
class GradedFile:
    """The counts of a call of `rbr grade`.

    Attributes:
        n_replies: Number of replies in the file.
        n_repeated: Number of rows without an id that repeat a conversation. They are graded once.
        n_cells: Number of questions about replies.
        n_kept: Number of grades that the table had before.
        n_replaced: Number of old answers, about another conversation or wording, that were replaced.
        without_grade: Number of questions without a grade, by outcome and reason.
        n_neutralized: Number of control tokens in the asked conversations that were neutralized for a server.
        thoughts: Sentences about the thoughts in the rows of the file.
        warnings: What the user should know of the grader.
        stopped: Why the grading stopped before its end; None if it did not.
        canary: What the fixed questions have shown of a server; empty if they were not asked.
    """

    n_replies: int
    n_repeated: int
    n_cells: int
    n_kept: int
    n_replaced: int
    without_grade: Mapping[Outcome, Counter[str]]
    n_neutralized: int = 0
    thoughts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    stopped: InputError | None = None
    canary: str = ""

    @property
    def n_missing(self) -> int:
        """Number of questions without a grade."""
        return sum(reasons.total() for reasons in self.without_grade.values())


def grade_file(file: Path, table: Path, profile: Profile, rulebook: Rulebook, only: Sequence[str]) -> GradedFile:
    """Grades the replies of a file. Asks only what the table lacks, and replaces the table at the end.

    Args:
        file: File of replies; see `load_replies`.
        table: Table to write or to continue; see `GradeTable`.
        profile: The profile; its sections `models` and `grader` are used.
        rulebook: The propositions, and what each response type needs.
        only: Propositions to ask; empty for all.

    Raises:
        InputError: The file, the table, a name or the profile cannot be used, or the grader cannot work at all. All
            problems of the file are reported. The table is not changed then.
    """
    cells, replies = _cells_of(file, profile.grader, rulebook, only)
    check_table_path(table)
    if table.resolve() == file.resolve():
        raise InputError("the table would replace the file of replies", where=str(table), hint="Name another file.")
    # Ask the server once what it serves: the identity and the opened grader are then about the same model.
    served = model_behind(profile.grader, profile.grader.wait_s)
    grader = identify_grader(profile.models.grader, profile.grader, served=served)
    with GradeTable(table, grader, _grader_name(profile)) as grades:
        missing = [
            cell
            for cell in cells
            if not grades.has(cell.key, conversation=cell.conversation_hash, question=cell.question_hash)
        ]
        n_replaced = sum(cell.key in grades.rows for cell in missing)

        def check(opened: Grader, line: ProgressLine) -> str:
            return check_table_canary(
                table, grader, profile.grader, opened, lambda count, note="": line.update(0, note)
            )

        def open_model() -> Grader:
            return open_grader(profile.models.grader, profile.grader, served)

        run = _Run(grades, grader, profile.grader, open_model, check)
        stopped, order = None, [cell.key for cell in cells]
        try:
            run.ask(missing)
        except InputError as error:
            if not run.n_stored:
                raise
            stopped = error
        except BaseException:
            if run.n_stored:
                grades.save(order)
            raise
        if run.n_stored:
            run.check_again()
            grades.save(order)
        without_grade = _without_grade(cells, grades, run.not_answered)
    asked = {cell.key for cell in missing}
    n_kept = sum(cell.key not in asked and grades.rows[cell.key].p_yes is not None for cell in cells)
    n_distinct = len({reply.reply_id for reply in replies})
    return GradedFile(
        len({cell.reply.reply_id for cell in cells}),
        len(replies) - n_distinct,
        len(cells),
        n_kept,
        n_replaced,
        without_grade,
        run.n_neutralized,
        tuple(thought_notes(reply.output for reply in replies)),
        run.warnings,
        stopped,
        run.canary,
    )


def _grader_name(profile: Profile) -> str:
    """Returns the grader in words: where it runs, and its model."""
    settings, ref = profile.grader, profile.models.grader
    if settings.backend == "openai":
        return f"{settings.model_name} at {settings.base_url}"
    return f"{settings.backend} in process with {ref.path if ref else 'no model'}"


class _Run:
    """Asks the missing questions of one call.

    Attributes:
        n_stored: Number of answers that were added to the table.
        not_answered: Why a question got no answer, by key.
        n_neutralized: Number of control tokens that were neutralized.
        warnings: What the user should know of the grader.
        canary: What the fixed questions have shown of a server; empty if they were not asked.
    """

    def __init__(
        self,
        grades: GradeTable,
        identity: str,
        settings: GraderSettings,
        open_model: Callable[[], Grader],
        check: Callable[[Grader, ProgressLine], str],
    ) -> None:
        self._grades = grades
        self._identity = identity
        self._settings = settings
        self._open_model = open_model
        self._check = check
        self._model: Grader | None = None
        self.n_stored = 0
        self.not_answered: dict[tuple[str, str], str] = {}
        self.n_neutralized = 0
        self.warnings: tuple[str, ...] = ()
        self.canary = ""

    def ask(self, missing: Sequence[Cell]) -> None:
        """Asks the questions chunk by chunk. Stops if the grader answers none of a chunk."""
        if not missing:
            return
        chunks = _chunks(missing, self._settings)
        done = 0
        with ProgressLine("grading", sum(map(len, chunks)), "replies") as line:
            self._model = grader = self._open_model()
            self.canary = self._check(grader, line)
            for chunk in chunks:
                questions = [cell.question for cell in chunk[0]]
                answers = grader.grade(
                    [cells[0].reply.conversation for cells in chunk],
                    questions,
                    on_progress=lambda count, note="", before=done: line.update(before + count, note),
                )
                self._store(chunk, answers)
                self.n_neutralized += answers.n_neutralized
                self.warnings = answers.warnings
                done += len(chunk)
                line.update(done)
                if answers.count(Outcome.NOT_ANSWERED) == answers.p_yes.size:
                    # The grader is away. It has already waited, and would wait again for every chunk.
                    return

    def check_again(self) -> None:
        """Asks the fixed questions again, before the answers become the table. A server says nothing of other weights.

        Raises:
            InputError: The model has changed. The answers of this run are forgotten then.
        """
        if not self.canary or self._model is None:
            return
        try:
            with ProgressLine("checking the model", len(CONVERSATIONS), "test replies") as line:
                self.canary = self._check(self._model, line)
        except ModelChanged as error:
            self._grades.forget_added()
            raise InputError(
                error.what,
                where=error.where,
                hint="The answers of this run are not kept, because nobody knows which of the models gave them. Serve "
                "the old model again, and run the command again.",
            ) from error
        except InputError:
            # The server is away or stopped answering. No answer was taken since it had the same model.
            return

    def _store(self, chunk: Sequence[Sequence[Cell]], answers: Answers) -> None:
        rows = []
        for row, cells in enumerate(chunk):
            for column, cell in enumerate(cells):
                answer = answers[row, column]
                if answer.outcome == Outcome.NOT_ANSWERED:
                    self.not_answered[cell.key] = answer.reason
                    continue
                rows.append(
                    GradeRow(
                        *cell.key,
                        p_yes=answer.p_yes if answer.outcome == Outcome.ANSWERED else None,
                        outcome=answer.outcome.value,
                        bound=answer.bound,
                        mass=answer.mass,
                        reason=answer.reason or None,
                        conversation=cell.conversation_hash,
                        question=cell.question_hash,
                        grader=self._identity,
                    )
                )
        if rows:
            self._grades.add(rows)
            self.n_stored += len(rows)


def _cells_of(
    file: Path, settings: GraderSettings, rulebook: Rulebook, only: Sequence[str]
) -> tuple[list[Cell], list[ReplyRow]]:
    """Reads the file, and returns its questions in order, and all its rows."""
    problems = TableProblems(file)
    replies = load_replies(problems)
    asked = [_propositions_of(reply, rulebook, only, problems) for reply in replies]
    unknown = [
        InputError(
            f"unknown proposition {printable(name)!r}",
            where="--propositions",
            hint=spelling_hint(name, rulebook.propositions),
        )
        for name in only
        if name not in rulebook.propositions
    ]
    if errors := [*unknown, *problems.errors()]:
        raise InputError.collect(errors)
    questions = {
        name: Question(name, proposition.question, proposition.examples)
        for name, proposition in rulebook.propositions.items()
    }
    hashes = {name: question_hash(question, settings.few_shot) for name, question in questions.items()}
    cells: dict[tuple[str, str], Cell] = {}
    for reply, names in zip(replies, asked, strict=True):
        conversation = content_hash(reply.conversation)
        for name in names:
            cell = Cell(reply, questions[name], conversation, hashes[name])
            cells.setdefault(cell.key, cell)
    if not cells:
        raise InputError("there is no question to ask", where=Location(str(file)), hint="Check --propositions.")
    return list(cells.values()), replies


def _propositions_of(
    reply: ReplyRow, rulebook: Rulebook, only: Collection[str], problems: TableProblems
) -> Sequence[str]:
    """Returns the propositions to ask about a reply, and adds the problems of its category and response type."""
    types, categories = rulebook.behavior.response_types, rulebook.content_policy.categories
    response_type = reply.response_type
    for word, name, known in (("category", reply.category, categories), ("response type", response_type, types)):
        if name is not None and name not in known:
            hint = spelling_hint(name, known)
            problems.add(f"unknown {word} {printable(name)!r}", line=reply.line, hint=hint)
            return ()
    if reply.category is not None:
        implied = rulebook.content_policy.response_type(reply.category)
        if response_type not in (None, implied):
            what = f"the category {reply.category} has the response type {implied}, not {response_type}"
            problems.add(what, line=reply.line, hint="Keep one of the two columns.")
        response_type = implied
    needed = rulebook.propositions if response_type is None else propositions_needed(rulebook.behavior, response_type)
    return [name for name in needed if not only or name in only]


def _chunks(missing: Sequence[Cell], settings: GraderSettings) -> list[list[list[Cell]]]:
    """Groups the cells of each reply, and then the replies that lack answers to the same questions.

    Returns:
        Chunks of replies; the cells of all replies of a chunk have the same questions, in the same order.
    """
    by_reply: dict[str, list[Cell]] = {}
    for cell in missing:
        by_reply.setdefault(cell.reply.reply_id, []).append(cell)
    by_questions: dict[tuple[str, ...], list[list[Cell]]] = {}
    for cells in by_reply.values():
        by_questions.setdefault(tuple(cell.question.name for cell in cells), []).append(cells)
    chunks = []
    for names, replies in by_questions.items():
        size = conversations_per_chunk(settings, len(names))
        chunks += [replies[start : start + size] for start in range(0, len(replies), size)]
    return chunks


def _without_grade(
    cells: Sequence[Cell], grades: GradeTable, not_answered: Mapping[tuple[str, str], str]
) -> dict[Outcome, Counter[str]]:
    """Counts the questions of the file without a grade, by outcome and reason."""
    counts: dict[Outcome, Counter[str]] = {}
    for cell in cells:
        if not grades.has(cell.key, conversation=cell.conversation_hash, question=cell.question_hash):
            outcome, reason = Outcome.NOT_ANSWERED, not_answered.get(cell.key, "")
        elif grades.rows[cell.key].p_yes is None:
            row = grades.rows[cell.key]
            outcome, reason = Outcome(row.outcome), row.reason or ""
        else:
            continue
        counts.setdefault(outcome, Counter())[reason] += 1
    return counts
