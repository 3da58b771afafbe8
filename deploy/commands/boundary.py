"""`boundary install`, `evaluate`, `ask`, `correct`, `trails` and `status`: who speaks at the boundary, and of what."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.asking import asked, seen
from deploy.attach import operator
from deploy.commands.audit import source_of
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from organs.boundary.harvest import Harvest
from shared.artifacts import store_of
from shared.audit import Options
from shared.audit import verify as verify_log
from shared.boundary.evaluate import Measured, measure
from shared.boundary.shelf import FolderShelf
from shared.boundary.task import TASK
from shared.boundary.training.trails import Trails, written
from shared.boundary.translator import changed_rules
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.errors import ConfigFault, Exit, NotPermitted, Refusal, Refused
from shared.files import storing
from shared.message import Request
from shared.models import models_folder
from shared.subjects.artifacts import RegisterArtifact
from shared.subjects.boundary import (
    BoundaryStated,
    BoundaryStatus,
    CorrectCall,
    InstallModel,
    Transformed,
    TransformRequest,
)
from shared.subjects.system import Decided
from shared.world import RealWorld

MEDIA_TYPE = "application/x-gguf"
PPM = 1_000_000
LOADED_S = constant(30.0, "s", "NIM-14")


def install(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Put a model's file where the organ finds it, register it as an artifact, and have the log say that it speaks.

    1 where the log says so and it does not: it could not be loaded, or another was put in its place meanwhile.
    """

    async def main() -> Exit:
        raw = _read(args.file)
        digest = FolderShelf(models_folder(loaded.settings), TASK).put(raw, args.digest)
        store = store_of(loaded.settings, RealWorld(loaded.settings.env))
        await store.prepare()
        await store.put(_whole(raw), MEDIA_TYPE)
        async with operator(loaded, terminal.note) as bus:
            with suppress(NotPermitted):  # no part that ever ran here keeps artifacts
                registered = await bus.request(RegisterArtifact(digest, "model", args.file.name, OPERATOR, []))
                if isinstance(registered, Refusal) and registered.code != "B006":  # nobody keeps artifacts now
                    raise Refused(registered)
            decided = await asked(bus, InstallModel(digest, args.exemption), Decided)
            stands = await _followed(bus, decided)
        shown = {"model": digest, "index": decided.index, "offset": decided.offset, "proof": decided.proof}
        shown |= {"speaker": stands.speaker, "reason": stands.reason}
        installed = f"{digest}  installed at ({decided.index}, {decided.offset})"
        speaks = stands.speaker == f"model:{digest}"
        because = f" ({stands.reason})" if stands.reason else ""
        terminal.give(shown, installed if speaks else f"{installed}, but {stands.speaker} speaks{because}")
        return Exit.OK if speaks else Exit.FAILED

    return finish(main())


async def _followed(bus: Bus, decided: Decided) -> BoundaryStated:
    """Return how the boundary stands once it has done what was decided; Refused B006 where that takes too long."""
    decision = (decided.index, decided.offset)

    async def reached() -> BoundaryStated | None:
        stands = await bus.request(BoundaryStatus())  # while it starts anew nobody answers
        return stands if isinstance(stands, BoundaryStated) and (stands.index, stands.offset) >= decision else None

    stands = await seen(bus, LOADED_S, reached)
    if stands is None:
        raise Refused(Refusal("B006", f"it is decided at {decision}, but the boundary has not done it yet"))
    return stands


def evaluate(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Ask a model about many states, corners first; 1 if a single answer is no allowed call."""

    async def main() -> Exit:
        rules = changed_rules(args.rule)
        shelf = FolderShelf(models_folder(loaded.settings), TASK)
        digest = shelf.put(_read(args.file)) if args.file else args.digest
        if digest is None:
            raise ConfigFault("name a model's FILE, or the --digest of one that was installed")
        model = await shelf.load(digest)
        try:
            found = await measure(model, TASK, args.states, RealWorld(loaded.settings.env), rules)
        finally:
            await model.close()
        terminal.give(
            {"model": digest} | msgspec.to_builtins(found),
            f"{found.valid} of {found.states} answers are allowed calls; {found.exact / found.states:.2%} are "
            f"the rules' own, {found.balanced_exact_ppm / PPM:.2%} with every function counting alike\n"
            + _apart(found)
            + f"{found.p50_us / 1000:.2f} ms for half of the calls, {found.p95_us / 1000:.2f} ms for 95 %",
        )
        if found.first_failure:
            terminal.note(found.first_failure)
        return Exit.OK if found.valid == found.states else Exit.FAILED

    return finish(main())


def _apart(found: Measured) -> str:
    """Return what is said where the rules are not the usual ones: the states that they changed, and all the rest."""
    if not found.changed:
        return ""
    rest, rest_exact = found.states - found.changed, found.exact - found.changed_exact
    return (
        f"{found.changed_exact / found.changed:.2%} of the {found.changed} states that the changed rules answer "
        f"otherwise, {rest_exact / max(rest, 1):.2%} of the {rest} others\n"
    )


def ask(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Ask for the call of one state, and print it with who spoke."""
    state = _state(args.values)

    async def main() -> Exit:
        answer = await _asked(TransformRequest(state), loaded, terminal)
        assert isinstance(answer, Transformed)
        terminal.give(msgspec.to_builtins(answer), f"{answer.call}  {answer.speaker}")
        return Exit.OK

    return finish(main())


def correct(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Have the log say which call is right in a state, so that a model learns it when one is next trained."""
    state = _state(args.values)

    async def main() -> Exit:
        answer = await _asked(CorrectCall(state, args.call), loaded, terminal)
        assert isinstance(answer, Decided)
        shown = {"index": answer.index, "offset": answer.offset, "proof": answer.proof}
        learned = "a model learns it when one is next trained (`nimmerverse train boundary --from-log`)"
        terminal.give(shown, f"{args.call} is right, says ({answer.index}, {answer.offset}); {learned}")
        return Exit.OK

    return finish(main())


def trails(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write the trails of a log into a file, one JSON line per state: what `train boundary --trails` reads."""
    found = harvested(args.source, loaded, terminal)
    assert found.origin is not None
    with storing(args.out):
        args.out.write_bytes(written(found.all))
    told = {"trails": len(found.all), "digest": found.digest, "origin": msgspec.to_builtins(found.origin)}
    where = f"entries {found.origin.first} to {found.origin.last} of the log {found.origin.log}"
    terminal.give(told | {"file": str(args.out)}, f"{args.out}: {len(found.all)} trails, {where}\n{found.digest}")
    return Exit.OK


def harvested(source: Path | None, loaded: Loaded, terminal: Terminal) -> Trails:
    """Return the trails of a stored log or, without one, of the live one. Refused B012 where the log does not hold."""
    harvest = Harvest(TASK)

    async def main() -> Trails:
        async with source_of(source, loaded) as log:
            report = await verify_log(log, Options(take=harvest.take))
        if not report.integrity.ok:
            raise Refused(
                Refusal("B012", f"nothing is learned from a log that was tampered with: {report.integrity.detail}")
            )
        return harvest.trails(report.fingerprint)

    found = finish(main())
    if harvest.unjudged:
        terminal.note(
            f"in {harvest.unjudged} states a model spoke and nobody said what is right: they teach nothing "
            "(`boundary correct` says it)"
        )
    if harvest.others:
        terminal.note(f"{harvest.others} decisions are of another task and were passed over")
    if found.origin is None:
        raise ConfigFault("the log holds no trail yet: ask the boundary first (`nimmerverse boundary ask`)")
    return found


def status(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say who speaks at the boundary, and how often each did."""

    async def main() -> Exit:
        said = await _asked(BoundaryStatus(), loaded, terminal)
        assert isinstance(said, BoundaryStated)
        counts = f"{said.by_model} by a model, {said.by_translator} by the rules, {said.nacked} nacked since the start"
        because = f" ({said.reason})" if said.reason else ""
        terminal.give(msgspec.to_builtins(said), f"{said.speaker} speaks; model {said.state}{because}; {counts}")
        return Exit.OK

    return finish(main())


def fields_in_words() -> str:
    """Return the fields of a state with their ranges, as the help shows them."""
    rows = (f"  {field.name:<8} {field.low} to {field.high} {field.unit}" for field in TASK.fields)
    return "\n".join(("fields of a state, every one whole:", *rows))


def _state(values: list[str]) -> dict[str, int]:
    """Return a state that was written as FIELD=NUMBER each, or as the JSON object that `ask` takes too."""
    text = " ".join(values)
    if text.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, int])
        except msgspec.DecodeError as error:
            raise ConfigFault(f"{text!r} is no JSON object of whole numbers ({error})") from None
    state: dict[str, int] = {}
    for item in values:
        name, _, number = item.partition("=")
        if not number.lstrip("-").isdecimal():
            raise ConfigFault(f"{item!r} is not FIELD=NUMBER, for instance battery=12")
        state[name] = int(number)
    return state


async def _asked(request: Request, loaded: Loaded, terminal: Terminal) -> object:
    async with operator(loaded, terminal.note) as bus:
        answer = await bus.request(request)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigFault(f"there is no file {path}; `nimmerverse train boundary` makes one")
    return path.read_bytes()


async def _whole(raw: bytes) -> AsyncIterator[bytes]:
    yield raw
