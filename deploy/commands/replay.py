"""`audit replay`: a log read back from any source, filtered, decoded, each decision run again from its evidence."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from deploy.commands.audit import source_of
from deploy.commands.show import full_subject, print_verdict
from deploy.commands.task import finish
from deploy.load import BUILT_IN, ON_REQUEST, find_part
from deploy.recheck import Rerun
from deploy.terminal import Terminal
from shared.audit import Options, Report
from shared.audit import verify as verify_log
from shared.audit.report import Judged
from shared.config import Loaded
from shared.envelope import Verdict, covers
from shared.errors import ConfigFault, Exit
from shared.log.entry import Position
from shared.message import decode_token, lane_of
from shared.part import Nerve, Part, declaration
from shared.personal import persons
from shared.settings import Settings
from shared.vault.erasures import erased_by
from shared.world import RealWorld

SHOWN_PLACES = 5  #: of one person's values, where a person reads them


def replay(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print what matches; then say whether the log holds, and whether its decisions come out the same."""
    wanted = Wanted(full_subject(args.subject, "*" if args.source else loaded.settings.env), args.entity)
    wanted.since_ms, wanted.until_ms = _moment(args.since), _moment(args.until)
    ours = [name for name in (*BUILT_IN, *ON_REQUEST) if issubclass(find_part(name), Nerve)]
    again = Again(_nerves([*ours, *args.part], "--part", loaded.settings), "came out differently")
    policy = Again(_nerves(args.policy, "--policy", loaded.settings), "would differ")

    erased = ErasedAt()

    def take(verdict: Verdict) -> None:
        erased.take(verdict)
        if wanted.matches(verdict):
            print_verdict(verdict, terminal)
            erased.printed(verdict)
        again.take(verdict)
        policy.take(verdict)

    async def main() -> Report:
        async with source_of(args.source, loaded) as source:
            return await verify_log(source, Options(trust=args.trust, take=take))

    report = finish(main())
    erased.tell(terminal)
    asked = [report.integrity, report.admission]
    asked += [report.completeness] if args.source or report.missing is not None else []  # a live log may be unsigned
    asked += [report.trust] if args.trust else []
    return _conclude(report, again, policy, asked, terminal)


@dataclass
class Wanted:
    """What of a log is printed: a pattern of subjects, an entity, a span of the broker's time."""

    pattern: str
    entity: str | None
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, verdict: Verdict) -> bool:
        """Say whether an entry is to be printed."""
        entry = verdict.entry
        at_ms = entry.time_ns // 1_000_000
        if (self.since_ms is not None and at_ms < self.since_ms) or (
            self.until_ms is not None and at_ms >= self.until_ms
        ):
            return False
        if self.entity is not None and _entity(entry.subject) != self.entity:
            return False
        return covers(self.pattern, entry.subject)


@dataclass
class ErasedAt:
    """Whose values were printed, and where the log says that such a value is erased."""

    seen: dict[str, list[Position]] = field(default_factory=dict[str, "list[Position]"])
    erased: dict[str, Position] = field(default_factory=dict[str, Position])

    def take(self, verdict: Verdict) -> None:
        """Remember the erasures that an entry completes."""
        for person, at in erased_by(verdict):
            self.erased.setdefault(person, at)

    def printed(self, verdict: Verdict) -> None:
        """Remember whose values an entry holds."""
        for offset, event in verdict.admitted():
            for person in {*persons(msgspec.msgpack.decode(event.data))}:
                self.seen.setdefault(person.hex(), []).append(Position(verdict.entry.index, offset))

    def tell(self, terminal: Terminal) -> None:
        """Say of each printed value that nobody can open any more where it was erased."""
        for person, at in self.erased.items():
            if places := self.seen.get(person):
                first = ", ".join(f"({place.index}, {place.offset})" for place in places[:SHOWN_PLACES])
                more = f" and {len(places) - SHOWN_PLACES} more" if len(places) > SHOWN_PLACES else ""
                terminal.give(
                    {
                        "person": person,
                        "erased": [at.index, at.offset],
                        "events": [[place.index, place.offset] for place in places],
                    },
                    f"person {person[:8]}…  erased at ({at.index}, {at.offset}): no key opens {first}{more}",
                )


@dataclass
class Again:
    """Runs every decision of some nerves again, and keeps those that come out otherwise."""

    nerves: list[Nerve[Any, Any]]
    otherwise: str
    counts: dict[str, int] = field(default_factory=dict[str, int])  #: by part, how many it ran again
    left: dict[str, int] = field(default_factory=dict[str, int])  #: by part and version, how many it could not
    differing: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    other_versions: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self._reruns = [Rerun(nerve) for nerve in self.nerves]

    def take(self, verdict: Verdict) -> None:
        """Run the decisions of one entry again; what carries evidence and is none of these nerves' is counted."""
        evident = {offset for offset, event in verdict.admitted() if event.evidence}
        for rerun in self._reruns:
            for offset, same in rerun.take(verdict):
                self.counts[rerun.nerve.name] = self.counts.get(rerun.nerve.name, 0) + 1
                evident.discard(offset)
                version = verdict.sealed.attributes.version if verdict.sealed is not None else ""
                if version != rerun.nerve.version:
                    key = f"{rerun.nerve.name} {version}"
                    self.other_versions[key] = self.other_versions.get(key, 0) + 1
                if not same:
                    place = {"index": verdict.entry.index, "offset": offset, "subject": verdict.entry.subject}
                    self.differing.append(place | {"part": rerun.nerve.name, "version": version})
        if evident and verdict.sealed is not None:
            key = f"{verdict.sealed.attributes.source} {verdict.sealed.attributes.version}"
            self.left[key] = self.left.get(key, 0) + len(evident)

    @property
    def count(self) -> int:
        """How many decisions were run again."""
        return sum(self.counts.values())


def _conclude(report: Report, again: Again, policy: Again, asked: list[Judged], terminal: Terminal) -> Exit:
    terminal.note(
        f"{report.entries} entries with {report.events} events read from {report.source}; {report.voids} void; "
        f"{again.count} decisions run again, {len(again.differing)} {again.otherwise}"
    )
    if again.counts:
        terminal.note(f"  run again: {', '.join(f'{count} of {part}' for part, count in sorted(again.counts.items()))}")
    for part, count in sorted(again.left.items()):
        terminal.note(f"  {count} decisions of {part} were NOT run again: name that nerve with --part")
    for version, count in again.other_versions.items():
        terminal.note(f"  {count} decisions were made by {version}: that version repeats them for certain")
    for found in again.differing:
        terminal.note(f"  ({found['index']}, {found['offset']}) of {found['part']} {again.otherwise}")
    if policy.nerves:
        terminal.note(f"{policy.count} decisions under the other policy, {len(policy.differing)} {policy.otherwise}:")
        for found in policy.differing:
            shown = f"  ({found['index']}, {found['offset']}) {found['subject']} {policy.otherwise}"
            terminal.give({"counterfactual": found}, shown)
    for judged in asked:
        if not judged.ok:
            terminal.note(f"{judged.detail}")
            return judged.exit
    return Exit.FAILED if again.differing else Exit.OK


def _nerves(names: Sequence[str], option: str, settings: Settings) -> list[Nerve[Any, Any]]:
    """Return each nerve once, whoever names it twice."""
    classes = {find_part(name): name for name in reversed(names)}
    return [_nerve(cls, name, option, settings) for cls, name in reversed(classes.items())]


def _nerve(cls: type[Part], name: str, option: str, settings: Settings) -> Nerve[Any, Any]:
    """Return a nerve as its process builds it; for --policy it has the name of one that decided, and other rules."""
    if not issubclass(cls, Nerve):
        raise ConfigFault(f"{option} {name} holds {cls.__name__}, a {cls.kind}; what decides is a nerve")
    nerve = cast("Nerve[Any, Any]", cls.build(settings, RealWorld(settings.env)))
    if not declaration(nerve).decides():
        raise ConfigFault(f"{option} {name}: {cls.__name__} says no decision; annotate what its `decide` returns")
    return nerve


def _entity(subject: str) -> str:
    token = subject.split(".")[4] if lane_of(subject) is not None else ""
    try:
        return decode_token(token) if token else ""
    except ValueError:
        return token


def _moment(text: str | None) -> int | None:
    """Return a time as people write it in ms: 2026-11-20, 2026-11-20T14:00 or with a zone; without one it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigFault(f"{text!r} is no time; write 2026-11-20 or 2026-11-20T14:00:00Z") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
