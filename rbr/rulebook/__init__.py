"""The rulebook: propositions, recipes, behavior policy and content policy, as files a safety team edits."""

from rbr.errors import RulebookError
from rbr.rulebook.diagram import ClassDiagram, compile_classes, compile_rules
from rbr.rulebook.expressions import Expression, names, parse
from rbr.rulebook.load import (
    BEHAVIOR_FILE,
    CONTENT_POLICY_FILE,
    PROPOSITIONS_FILE,
    SYNTHESIS_FILE,
    load_behavior,
    load_content_policy,
    load_propositions,
    load_rulebook,
    load_synthesis,
    rulebook_hash,
)
from rbr.rulebook.models import (
    Agreement,
    Behavior,
    Category,
    ClassShare,
    ContentPolicy,
    Example,
    Metrics,
    Proposition,
    Propositions,
    Recipe,
    ResponseTypeRules,
    Rulebook,
    Slot,
    Synthesis,
)
from rbr.rulebook.rules import propositions_needed

__all__ = [
    "BEHAVIOR_FILE",
    "CONTENT_POLICY_FILE",
    "PROPOSITIONS_FILE",
    "SYNTHESIS_FILE",
    "Agreement",
    "Behavior",
    "Category",
    "ClassDiagram",
    "ClassShare",
    "ContentPolicy",
    "Example",
    "Expression",
    "Metrics",
    "Proposition",
    "Propositions",
    "Recipe",
    "ResponseTypeRules",
    "Rulebook",
    "RulebookError",
    "Slot",
    "Synthesis",
    "compile_classes",
    "compile_rules",
    "load_behavior",
    "load_content_policy",
    "load_propositions",
    "load_rulebook",
    "load_synthesis",
    "names",
    "parse",
    "propositions_needed",
    "rulebook_hash",
]
