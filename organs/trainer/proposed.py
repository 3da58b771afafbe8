"""Whether what was proposed and accepted is what a job trains: a yes to one training is none to another (ZER-01)."""

from __future__ import annotations

from shared.consensus import family_of
from shared.subjects.consensus import ProposalFacts
from shared.subjects.training import JobSpec
from shared.training.jobs import BATCH, EPOCHS, LEARNING_RATE

DIGITS = 16  #: of a dataset's digest, as told


def differences(spec: JobSpec, facts: ProposalFacts | None) -> list[str]:
    """Return in what a job goes beyond an accepted proposal, each in a few words; nothing where it is what was asked.

    Fewer datasets and fewer steps are within it. A hyperparameter that either of them leaves open is no difference.
    """
    if facts is None or facts.training is None:
        return ["the proposal says of no training"]
    asked = facts.training
    found = list[str]()
    if spec.family != family_of(facts):
        found.append(f"the family is {spec.family}, proposed {family_of(facts)}")
    if spec.backend != asked.backend:
        found.append(f"the backend is {spec.backend}, proposed {asked.backend}")
    if spec.steps > asked.steps:
        found.append(f"{spec.steps} steps, proposed {asked.steps}")
    found += [f"dataset {each[:DIGITS]} was not proposed" for each in spec.datasets if each not in asked.datasets]
    if spec.base != asked.base:
        found.append(f"the base is {spec.base[:DIGITS] or 'none'}, proposed {asked.base[:DIGITS] or 'none'}")
    numbers = {LEARNING_RATE: asked.learning_rate_ppm, BATCH: asked.batch, EPOCHS: asked.epochs}
    for name, proposed in numbers.items():
        given = spec.hyperparameters.get(name, proposed)
        if proposed and given != proposed:
            found.append(f"{name} is {given}, proposed {proposed}")
    return found
