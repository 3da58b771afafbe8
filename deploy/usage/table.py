"""Every command of `nimmerverse` by the words that call it, in the order of the help."""

from __future__ import annotations

from deploy.usage.admin import ADMIN
from deploy.usage.audit import AUDIT
from deploy.usage.described import Described, Group
from deploy.usage.evaluation import EVALUATION
from deploy.usage.keep import KEEP
from deploy.usage.models import MODELS
from deploy.usage.provenance import PROVENANCE
from deploy.usage.registry import REGISTRY
from deploy.usage.rules import RULES
from deploy.usage.run import RUN
from deploy.usage.talk import TALK
from deploy.usage.votes import VOTES

COMMANDS: dict[str, Described | Group] = {
    **RUN,
    **TALK,
    **AUDIT,
    **KEEP,
    **PROVENANCE,
    **MODELS,
    **EVALUATION,
    **RULES,
    **VOTES,
    **REGISTRY,
    **ADMIN,
}


def each_command() -> dict[str, Described]:
    """Return every command by the words that call it, groups spelled out."""
    flat: dict[str, Described] = {}
    for name, described in COMMANDS.items():
        if isinstance(described, Group):
            flat |= {f"{name} {word}": one for word, one in described.commands.items()}
        else:
            flat[name] = described
    return flat
