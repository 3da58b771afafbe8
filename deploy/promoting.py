"""Promoting a model from outside the registry: what it is registered as, fresh evidence, and what was decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploy.asking import seen
from shared.bus import Bus
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import NotPermitted, Refusal, Refused, Unreachable
from shared.registry.lineage import Lineage
from shared.subjects.artifacts import ArtifactRegistered
from shared.subjects.datasets import VerifyDataset
from shared.subjects.energy import PowerWindow, PowerWindowRequest
from shared.subjects.registry import EvidenceNoted, ModelFacts, ModelPromoted, PromotionBlocked, RegisterModel
from shared.subjects.system import Decided

VERIFIED_S = constant(600.0, "s", "COL-10")  # a dataset is read whole
NOTED_S = constant(10.0, "s", "COL-10")

Say = Callable[[str], None]


async def registration(  # noqa: PLR0913 - each word of a model is its own fact
    bus: Bus, model: str, version: str, code: str, *, high_risk: bool, watermark: str
) -> RegisterModel:
    """Return what is registered of a model that a recorded run left, once the registry has noted that run.

    Where it has not in time it is asked all the same, and says so. Refused N003 where the log has no such run.
    """
    known, artifact = Lineage(), None
    async for verdict in bus.replay():
        known.take(verdict)
        for found, _ in decisions_in(verdict, ArtifactRegistered):
            artifact = found if found.digest == model else artifact
    if model not in known.runs:
        raise Refused(Refusal("N003", f"no recorded run left {model[:80]!r}"))
    run, at = known.runs[model][-1]
    await noted(bus, run.family, [(at.index, at.offset)])
    size, sha256 = (artifact.size_bytes, artifact.sha256) if artifact is not None else (0, "")
    facts = ModelFacts(
        version=version,
        code=code,
        job=run.job,
        record=run.record,
        datasets=run.datasets,
        parents=[run.base] if run.base else [],
        size_bytes=size,
        sha256=sha256,
        high_risk=high_risk,
        watermark=watermark,
    )
    return RegisterModel(run.family, model, facts)


async def noted(bus: Bus, family: str, places: Sequence[tuple[int, int]]) -> bool:
    """Wait until the registry has noted the decisions at these places; False where it has not in time."""
    lane = EvidenceNoted.lane_about(bus.env, family)

    left = {*places}

    async def all_noted() -> bool | None:
        for verdict in await bus.follow(lane):
            left.difference_update((note.index, note.offset) for note, _ in decisions_in(verdict, EvidenceNoted))
        return None if left else True

    return await seen(bus, NOTED_S, all_noted) is not None


async def gather(bus: Bus, family: str, datasets: Sequence[str], site: str, say: Say) -> None:
    """Have power and every dataset looked at now, and wait until the registry has noted what was found.

    Where somebody does not answer the promotion is asked for all the same: the table then says what is missing.
    """
    places = list[tuple[int, int]]()
    for what, request, timeout_s in (
        ("power", PowerWindowRequest(site, family), NOTED_S),
        *((f"dataset {dataset[:16]}", VerifyDataset(dataset, family), VERIFIED_S) for dataset in datasets),
    ):
        try:
            answer = await bus.request(request, timeout_s)
        except NotPermitted:  # nobody here ever was who could answer
            answer = Refusal("B006")
        if isinstance(answer, PowerWindow | Decided):
            places.append((answer.index, answer.offset))
        else:
            say(f"{what}: {answer}")
    if not await noted(bus, family, places):
        say("the registry has not noted all of it yet")


async def decision_at(bus: Bus, placed: Decided) -> ModelPromoted | PromotionBlocked:
    """Return what the registry decided, as the log has it."""
    [verdict] = await bus.judged(placed.index, 1, placed.index)
    for decided, at in decisions_in(verdict, ModelPromoted, PromotionBlocked):
        if at.offset == placed.offset:
            return decided
    raise Unreachable(f"entry {placed.index} has no decision about a promotion at {placed.offset}")
