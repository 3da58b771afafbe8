"""`registry …`: the models that the log knows, what was in force when, and what taught which."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from deploy.attach import operator, reader
from deploy.commands.audit import source_of
from deploy.commands.task import finish
from deploy.families import Known
from deploy.promoting import registration
from deploy.proving import proved_post
from deploy.terminal import Terminal
from nerves.registry.stating import stated
from shared.artifacts import ArtifactStore, store_of
from shared.audit import Options
from shared.audit import verify as verify_log
from shared.config import Loaded
from shared.corpus import Line
from shared.envelope import Verdict
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.policy import Policies
from shared.registry.family import TARGETS
from shared.registry.holding import Held, holding, teaching
from shared.registry.lineage import Lineage, Node, Taught
from shared.registry.rejudging import Trainings, rejudged
from shared.subjects.system import Decided
from shared.vault import people_of, vault_exists
from shared.world import RealWorld

_DIGEST, _PSEUDONYM = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the families and what is in force of each."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = await Known.read(bus)
        for name in sorted(known.decisions):
            family = known.family(name)
            there = {target: standing.model if (standing := family.at(target)) else "" for target in TARGETS}
            told = {"family": name, "models": len(family.models), **there}
            said = ", ".join(f"{target} {model[:16] or 'nothing'}" for target, model in there.items())
            terminal.give(told, f"{name:<20} {len(family.models)} models; {said}")
        if not known.decisions:
            terminal.give({"models": 0}, "the log knows no model; `nimmerverse train submit` makes one")
        return Exit.OK

    return finish(main())


def show(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Tell a family's versions, where each stands, and the evidence about it."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = await Known.read(bus)
        told = stated(args.family, known.family(args.family))
        for one in told.models:
            lines = [f"{one.status:<10} {one.facts.version:<12} {one.model}", *(f"    {note}" for note in one.evidence)]
            terminal.give(msgspec.to_builtins(one), "\n".join(lines))
        return Exit.OK

    return finish(main())


def at(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Tell what was in force after an index, or at a time."""
    index, at_ms = _moment(args.when)

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = await Known.read(bus)
        family = known.family(args.family, index=index, at_ms=at_ms)
        for target in TARGETS:
            standing = family.at(target)
            told = {"family": args.family, "target": target, "standing": msgspec.to_builtins(standing)}
            terminal.give(told, f"{target:<8} {standing.model if standing else 'nothing'}")
        return Exit.OK

    return finish(main())


def register(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Register a model under a version, by what the log says of the run that left it."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            about = {"high_risk": args.high_risk, "watermark": args.watermark}
            asked = await registration(bus, args.model, args.version, args.code, **about)
            answer = await bus.request(asked)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, Decided)
        told = {"family": asked.family, "model": asked.model, "version": asked.facts.version, "index": answer.index}
        terminal.give(told, f"{asked.family} {asked.facts.version} is {asked.model}, registered at {answer.index}")
        return Exit.OK

    return finish(main())


def lineage(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Walk from a model back to what taught it; with --post to that post, by a proof that ends at a root in the log."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = (await Known.read(bus)).lineage
        node = known.back(args.model)
        if node is None:
            raise Refused(Refusal("N003", f"found {args.model[:80]!r}; `registry show FAMILY` lists digests"))
        terminal.give(msgspec.to_builtins(node), "\n".join(_tree(node, 0)))
        if args.post is not None:
            told, said = await _proof(loaded, known, args.model, args.post)
            terminal.give(told, said)
        return Exit.OK

    return finish(main())


def forward(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Walk from a post or a dataset forward to every model that it taught."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = (await Known.read(bus)).lineage
        word: str = args.what
        if _DIGEST.fullmatch(word) and (word in known.datasets or word in known.corpora):
            return _taught(known, [word], [], terminal)
        held = await _held(loaded, known, lambda line: line.id == word)
        if not held:
            raise Refused(Refusal("C008", f"{word[:80]!r} is no dataset, and a post of none"))
        return _taught(known, teaching(held), held, terminal)

    return finish(main())


def taught_by(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Name every model that a person's posts taught: by name, or by the pseudonym that stays."""

    async def main() -> Exit:
        world = RealWorld(loaded.settings.env)
        person: str = args.person
        if not _PSEUDONYM.fullmatch(person):
            if not vault_exists(loaded.settings):
                raise ConfigFault("there is no vault here; give the person's pseudonym, 32 hexadecimal digits")
            person = (await people_of(loaded.settings, world).find(person)).hex()
        async with reader(loaded) as bus:
            known = (await Known.read(bus)).lineage
        held = await _held(loaded, known, lambda line: line.person == person)
        return _taught(known, teaching(held), held, terminal)

    return finish(main())


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Check the log whole, and judge every promotion and every start of a training again; 1 where one differs."""
    known, policies = Known(), Policies.shipped()
    trainings = Trainings(policies)

    def take(verdict: Verdict) -> None:
        known.take(verdict)
        trainings.take(verdict)

    async def main() -> Exit:
        async with source_of(args.source, loaded) as log:
            report = await verify_log(log, Options(take=take))
        if not report.integrity.ok:
            raise Refused(Refusal("B012", f"the log does not hold: {report.integrity.detail}"))
        promotions = [one for name in sorted(known.decisions) for one in rejudged(known.decisions[name], policies)]
        every = [*trainings.found, *promotions]
        for one in every:
            what = f"{one.family} {one.about[:16]}" + (f" at {one.target}" if one.target else "")
            said = f"{one.outcome:<9} {what}, entry {one.index}: {one.verdict}"
            terminal.give(msgspec.to_builtins(one), f"{said} {one.detail}".rstrip())
        same = sum(one.verdict == "same" for one in every)
        numbers = {"promotions": len(promotions), "trainings": len(trainings.found), "same": same}
        sentence = f"{same} of {len(every)} promotions and trainings are judged the same again; the log holds"
        terminal.give(numbers | {"fingerprint": report.fingerprint}, sentence)
        return Exit.OK if same == len(every) else Exit.FAILED

    return finish(main())


def _moment(word: str) -> tuple[int | None, int | None]:
    """Return an index, or a time in milliseconds."""
    if word.isdecimal():
        return int(word), None
    try:
        return None, round(datetime.fromisoformat(word).astimezone().timestamp() * 1_000)
    except ValueError:
        raise ConfigFault(f"{word!r} is neither an index nor a time, for instance 2026-01-31T12:00+01:00") from None


async def _held(loaded: Loaded, known: Lineage, wanted: Callable[[Line], bool]) -> list[Held]:
    return await holding(await _store(loaded), known, wanted)


async def _store(loaded: Loaded) -> ArtifactStore:
    store = store_of(loaded.settings, RealWorld(loaded.settings.env))
    await store.prepare()
    return store


async def _proof(loaded: Loaded, known: Lineage, model: str, post: str) -> tuple[object, str]:
    """Return the proof that a post stands in a dataset that taught a model, held against the log's own root."""
    store, world = await _store(loaded), RealWorld(loaded.settings.env)
    people = people_of(loaded.settings, world) if vault_exists(loaded.settings) else None
    proved, sealed = await proved_post(store, people, known, model, post)
    where = f"batch {proved.batch} of {proved.corpus}, sealed at ({sealed.index}, {sealed.offset})"
    said = f"{post}: {proved.fate}, leaf {proved.index} of {proved.size} under {proved.root}, {where}"
    return msgspec.to_builtins(proved) | {"sealed": [sealed.index, sealed.offset]}, said


def _taught(known: Lineage, datasets: list[str], held: list[Held], terminal: Terminal) -> Exit:
    for one in held:
        sealed = "as the log sealed it" if one.root_in_log else "NOT the batch that the log sealed"
        said = f"{one.post}: {one.fate} in batch {one.batch} of {one.corpus} ({one.dataset[:16]}), {sealed}"
        terminal.give({"held": msgspec.to_builtins(one)}, said)
    taught = known.forward(datasets)
    for model in taught:
        terminal.give({"taught": msgspec.to_builtins(model)}, _sentence(model))
    if not taught:
        terminal.give({"taught": None}, "no model was taught by it")
    return Exit.OK


def _sentence(model: Taught) -> str:
    where = f", in force at {' and '.join(model.promoted)}" if model.promoted else ""
    through = " > ".join(digest[:16] for digest in model.through)
    return f"taught {model.family} {model.model} by the run at ({model.index}, {model.offset}){where}; {through}"


def _tree(node: Node, depth: int) -> Iterator[str]:
    """Yield a lineage's lines; what stands nowhere in the log says so."""
    place = f"({node.index}, {node.offset})" if node.index >= 0 else "not in this log"
    yield f"{'  ' * depth}{node.kind} {node.name}: {node.says}, {place}"
    for below in node.came_from:
        yield from _tree(below, depth + 1)
