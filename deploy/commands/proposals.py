"""`propose` and `proposals …`: what is proposed, where it stands, and whether a merge may go on."""

from __future__ import annotations

from argparse import Namespace
from typing import TypeVar

import msgspec

from deploy.asking import asked
from deploy.attach import operator, reader
from deploy.commands.task import finish
from deploy.queue import Line, check_lines, read_queue, write_queue
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.config import Loaded
from shared.consensus import Proposal, evolved
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.subjects.consensus import (
    EthicsNoted,
    ListProposals,
    MakeProposal,
    ProposalFacts,
    ProposalMade,
    ProposalsListed,
    ProposalStated,
    ProposalStatus,
    ReviewStated,
    ReviewStatus,
    TrainingData,
    VoteCounted,
)
from shared.subjects.system import Decided

PPM = 1_000_000


def propose(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make a proposal; it is pending until the AI and a person voted."""
    training = None
    if args.model_id:
        rate_ppm = round(args.learning_rate * PPM)
        said = (args.model_id, args.steps, args.dataset, args.backend, rate_ppm, args.batch, args.epochs, args.base)
        training = _checked(TrainingData(*said))
    given = (args.proposer, args.summary, args.details, args.change_type, args.risk)
    facts = _checked(ProposalFacts(*given, training, args.run_record, args.model, args.family))

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            made = await asked(bus, _checked(MakeProposal(args.proposal, facts, None)), Decided)
        told = {"proposal": args.proposal, "index": made.index, "offset": made.offset}
        terminal.give(told, f"{args.proposal} is pending, made at ({made.index}, {made.offset})")
        return Exit.OK

    return finish(main())


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the newest proposals."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found = await asked(bus, ListProposals(args.state, args.limit), ProposalsListed)
        for one in found.proposals:
            summary = one.facts.summary if one.facts else ""
            terminal.give(msgspec.to_builtins(one), f"{one.state:<12} {one.proposal:<24} {summary}")
        terminal.note(_numbers(found))
        return Exit.OK

    return finish(main())


def stats(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Count the proposals by their state."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found = await asked(bus, ListProposals(None, 0), ProposalsListed)
        names = ("total", "pending", "under_review", "accepted", "rejected")
        terminal.give({name: getattr(found, name) for name in names}, _numbers(found))
        return Exit.OK

    return finish(main())


def show(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Tell where a proposal stands, its votes, its ethics review, and what the AI's vote waits for."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found = await asked(bus, ProposalStatus(args.proposal), ProposalStated)
            review = await bus.request(ReviewStatus(args.proposal))
        waits = review.waits if isinstance(review, ReviewStated) else str(review)
        told = msgspec.to_builtins(found) | {"ai_waits": waits}
        terminal.give(told, "\n".join(_shown(found, waits)))
        return Exit.OK

    return finish(main())


def validate(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say of each line of a file whether it is a valid proposal; 7 where one is not."""
    rows = check_lines(args.file)
    for number, name, found in rows:
        told = {"line": number, "proposal": name, "problems": found}
        terminal.give(told, f"line {number} {name}: {'; '.join(found) or 'valid'}")
    if not rows:
        raise ConfigFault(f"{args.file} holds no proposal; each line is one JSON object")
    return Exit.REFUSED if any(found for _, _, found in rows) else Exit.OK


def export(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write every proposal of the log into a JSONL file; a proposal's votes stay in the log, signed."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = await _folded(bus)
        lines = [Line(name, one.facts) for name, one in known.items() if one.facts is not None]
        count = write_queue(args.file, lines)
        terminal.give({"file": str(args.file), "proposals": count}, f"{count} proposals in {args.file}")
        return Exit.OK

    return finish(main())


def import_(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make the proposals of a JSONL file that are not there yet: all lines are checked before the first is made."""
    lines = read_queue(args.file)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            known = await _folded(bus)
            other = [one.proposal for one in lines if one.proposal in known and known[one.proposal].facts != one.facts]
            if other:
                raise Refused(Refusal("G003", f"nothing was made: the log has other proposals as {', '.join(other)}"))
            new = [_checked(MakeProposal(one.proposal, one.facts, None)) for one in lines if one.proposal not in known]
            for proposal in new:
                await asked(bus, proposal, Decided)
        told = {"made": len(new), "known": len(lines) - len(new)}
        terminal.give(told, f"{told['made']} proposals made, {told['known']} were there already")
        return Exit.OK

    return finish(main())


def check(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Succeed only where a proposal, or each one in a file with the very same facts, is accepted (ZER-05)."""
    if (args.proposal is None) == (args.file is None):
        raise ConfigFault("name the proposal, or the file with the proposals that this merge needs, and not both")
    lines = read_queue(args.file) if args.file is not None else []
    wanted: dict[str, ProposalFacts | None] = {line.proposal: line.facts for line in lines} or {args.proposal: None}

    async def main() -> Exit:
        async with reader(loaded) as bus:
            known = await _folded(bus)
        found = {name: _verdict(known.get(name), facts) for name, facts in wanted.items()}
        for name, (accepted, why) in found.items():
            terminal.give(
                {"proposal": name, "accepted": accepted, "why": why}, f"{'✓' if accepted else '✗'} {name}: {why}"
            )
        return Exit.OK if all(accepted for accepted, _ in found.values()) else Exit.REFUSED

    return finish(main())


def _verdict(found: Proposal | None, facts: ProposalFacts | None) -> tuple[bool, str]:
    """Return whether a merge may rest on this proposal, and why."""
    if found is None or found.facts is None:
        return False, "there is no such proposal; make it with `nimmerverse propose`"
    if facts is not None and facts != found.facts:
        return False, f"the log's proposal of this id says something else; that one is {found.state}"
    votes = "; ".join(f"{vote.role} {vote.voter} {vote.choice}" for vote in found.votes if vote.counts == "counted")
    return found.state == "accepted", f"{found.state} ({votes or 'nobody voted'})"


async def _folded(bus: Bus) -> dict[str, Proposal]:
    """Return every proposal as the log's admitted decisions leave it."""
    known: dict[str, Proposal] = {}
    async for verdict in bus.replay():
        for decision, _ in decisions_in(verdict, ProposalMade, VoteCounted, EthicsNoted):
            known[decision.proposal] = evolved(known.get(decision.proposal, Proposal()), decision)
    return known


S = TypeVar("S", bound=msgspec.Struct)


def _checked(struct: S) -> S:
    """Return a struct whose fields hold to their bounds; Refused G002 with the field that does not."""
    try:
        return msgspec.convert(msgspec.to_builtins(struct), type(struct))
    except msgspec.ValidationError as error:
        raise Refused(Refusal("G002", str(error))) from None


def _numbers(found: ProposalsListed) -> str:
    f = found
    states = f"{f.pending} pending, {f.under_review} under review, {f.accepted} accepted, {f.rejected} rejected"
    return f"{f.total} proposals: {states}"


def _shown(found: ProposalStated, waits: str) -> list[str]:
    facts, ethics = found.facts, found.ethics
    lines = [f"{found.proposal}: {found.state} (AI {found.ai}, human {found.human})"]
    lines += [f"  AI waits: {waits}"] if waits and found.ai == "pending" else []
    if facts is not None:
        lines += [f"  {facts.change_type}, risk {facts.risk}, by {facts.proposer}: {facts.summary}"]
        lines += [f"  run {facts.run or '-'}", f"  model {facts.model or '-'} of {facts.family or '-'}"]
    if ethics is not None:
        lines += [f"  ethics {ethics.compliance_ppm / 10_000:.1f} %, {ethics.bias_assessment}"]
        lines += [f"    {check}" for check in ethics.safety_checks]
        lines += [f"    do: {advice}" for advice in ethics.recommendations]
    return [*lines, *(f"  {vote}" for vote in found.votes)]
