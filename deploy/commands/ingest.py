"""`ingest` and `dataset prove`: posts become a dataset, and any of them is shown to stand in it."""

from __future__ import annotations

import asyncio
import platform
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cells.toxicity_cell.scorer import NoScorer, Scorer, default_scorer, promoted_scorer
from deploy.attach import operator
from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.provenance import python_text
from organs.provenance.ingest import Ended, Ingest, Plan, Ports, Told
from organs.provenance.ingest import Progress as Reached
from organs.provenance.lines import Bytes
from organs.provenance.pages import Pages
from organs.provenance.post import Source
from organs.provenance.readers import FileSource, JsonLines, Paragraphs, TrailLines
from organs.provenance.remembering import folder_of
from organs.provenance.stream import URL, Endpoint, LiveStream, read_token
from shared.artifacts import ArtifactStore, read, store_of
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal
from shared.files import storing, write_private
from shared.message import encode_token
from shared.policy import Policies
from shared.registry.family import DECISIONS
from shared.registry.promoted import Promoted
from shared.subjects.provenance import BatchSealed, CorpusStated, CorpusStatus, Intake, Reader, Tally
from shared.subjects.registry import ModelPromoted
from shared.vault import People, people_of, vault_exists
from shared.vault.records import prove as prove_post
from shared.world import RealWorld, World, now_ms

PPM = 1_000_000
SHOWN_DIGITS = 16
STDIN = "-"
FAMILY = "toxicity"
MAX_SCORER_BYTES = constant(1_000_000, "bytes", "COL-02")
READERS: dict[Reader, type[FileSource]] = {"jsonl": JsonLines, "x": Pages, "text": Paragraphs, "trails": TrailLines}
SUFFIXES: dict[str, Reader] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "x", ".txt": "text", ".md": "text"}


def ingest(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Take posts in until their source ends, from where an earlier run stood, and register the dataset."""

    async def main() -> Exit:
        world = RealWorld(loaded.settings.env)
        reader = _reader(args)
        corpus: str = args.corpus or _name(args)
        source = _source(args, reader, world)
        store = store_of(loaded.settings, world)
        await store.prepare()
        async with operator(loaded, terminal.note) as bus:
            scored = not args.no_scorer and reader != "trails"
            scorer = await scorer_in_force(bus, store, corpus) if scored else NoScorer()
            intake = _intake(args, reader, scorer)
            folder, size = folder_of(loaded.settings, corpus), _size(args)
            plan = Plan(corpus, intake, source, args.use, folder, size)
            ports = ports_of(bus, store, people_of(loaded.settings, world), scorer)
            return await carry_out(plan, ports, terminal)

    return finish(main())


async def carry_out(plan: Plan, ports: Ports, terminal: Terminal) -> Exit:
    """Take in what a plan says, a person watching, and tell how it ended."""
    with _shown(terminal, plan.corpus) as told:
        ended = await Ingest(plan, ports, told).run()
    return _tell(ended, terminal)


def prove(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write the proof that a post stands in a dataset; the root in it is in the signed log."""

    async def main() -> Exit:
        world = RealWorld(loaded.settings.env)
        store = store_of(loaded.settings, world)
        await store.prepare()
        people: People | None = people_of(loaded.settings, world) if vault_exists(loaded.settings) else None
        proved = await prove_post(store, args.dataset, args.post, people)
        out: Path = args.out or Path(f"{encode_token(args.post)}.proof.json")
        with storing(out):
            write_private(out, msgspec.json.format(msgspec.json.encode(proved), indent=1))
        said = f"{args.post}: {proved.fate}, leaf {proved.index} of {proved.size} under {proved.root}; written to {out}"
        more = f"\n{proved.erased}: the proof holds, what it was is gone" if proved.erased else ""
        terminal.give(msgspec.to_builtins(proved) | {"out": str(out)}, said + more)
        return Exit.OK

    return finish(main())


# What is taken in


def _reader(args: Namespace) -> Reader:
    if args.x_stream is not None:
        return "x"
    if args.format is not None:
        return cast("Reader", args.format)
    if args.file is None:
        return "text"
    found = SUFFIXES.get(Path(args.file).suffix.lower()) if args.file != STDIN else "jsonl"
    if found is None:
        raise ConfigFault(f"{args.file} does not say what it holds; choose --format {', '.join(READERS)}")
    return found


def _size(args: Namespace) -> int | None:
    path = Path(args.file) if args.file not in (None, STDIN) and args.x_stream is None else None
    return path.stat().st_size if path is not None and path.is_file() else None


def _name(args: Namespace) -> str:
    """Return what a corpus is called where nobody says."""
    if args.x_stream is not None or args.file == STDIN:
        raise ConfigFault("a stream has no name; give its corpus one with --corpus")
    return f"cpython-{platform.python_version()}" if args.file is None else Path(args.file).stem[:100]


def _intake(args: Namespace, reader: Reader, scorer: Scorer) -> Intake:
    own = args.file is None and args.x_stream is None
    file = Path(args.file).name if args.file is not None else ""
    language = args.language if args.language is not None else "" if reader == "trails" else "en"
    named = "X filtered stream" if args.x_stream is not None else python_text.name() if own else file
    return Intake(
        reader=reader,
        source=args.source or ("standard input" if named == STDIN else named),
        licence=args.licence or (python_text.LICENCE if own else "unknown"),
        restrictions=args.restriction,
        language="" if language == "any" else language,
        keep_ppm=round(args.keep * PPM),
        scorer=scorer.name,
        policy=Policies.shipped().digest,
    )


def _source(args: Namespace, reader: Reader, world: World) -> Callable[[int], Awaitable[Source]]:
    """Return what opens the source at an offset; what cannot be opened at all is said before anything begins."""
    if args.x_stream is not None:
        if args.x_token is None:
            raise ConfigFault("a stream wants a bearer token; write it into a file and give --x-token FILE")
        endpoint = Endpoint.of(args.x_stream or URL, read_token(args.x_token))
        return partial(_live, endpoint, world, args.count)
    if args.file is None:
        return _python
    path = None if args.file == STDIN else Path(args.file)
    if path is not None and not path.is_file():
        raise ConfigFault(f"there is no file {path}; give a file of posts, or - for standard input")
    return partial(_file, READERS[reader], path, world)


async def _python(offset: int) -> Source:
    return python_text.PythonText(offset)


async def _file(reader: type[FileSource], path: Path | None, world: World, offset: int) -> Source:
    raw = await asyncio.to_thread(Bytes, path, offset)
    return reader(raw, world.elapsed_s)


async def _live(endpoint: Endpoint, world: World, count: int | None, offset: int) -> Source:
    """Listen to a stream; a signal ends it in good order, with what was heard sealed."""
    stream = LiveStream(endpoint, world, resumed=offset > 0, count=offset, most=count)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stream.stop)
    return stream


async def scorer_in_force(bus: Bus, store: ArtifactStore, corpus: str) -> Scorer:
    """Return the toxicity model that the log has in force, or the default where there is none (COL-02).

    A corpus that was begun by the default goes on by it, whatever was promoted meanwhile. Refused N006, F002, S002.
    """
    default = default_scorer()
    stated = await bus.request(CorpusStatus(corpus))
    begun = stated.intake if isinstance(stated, CorpusStated) else None
    promoted = Promoted(FAMILY, bus.env)
    lane = ModelPromoted.lane_about(bus.env, FAMILY)
    for verdict in await bus.follow(lane):
        for decision, at in decisions_in(verdict, *DECISIONS):
            promoted.take(decision, at)
    standing = promoted.in_force(now_ms(bus.world))
    if standing is None or (begun is not None and begun.scorer == default.name):
        return default
    return promoted_scorer(await read(store, standing.model, MAX_SCORER_BYTES), standing.model, standing.model)


def ports_of(bus: Bus, store: ArtifactStore, people: People, scorer: Scorer) -> Ports:
    """Return what an ingest acts through on a bus."""
    return Ports(bus, partial(_sealed, bus), store, people, scorer, bus.world)


async def _sealed(bus: Bus, corpus: str) -> list[BatchSealed]:
    """Return the batches of a corpus that the log holds, in order."""
    lane = BatchSealed.pattern(bus.env).replace("*", encode_token(corpus)).rpartition(".")[0]
    found = [one for verdict in await bus.follow(lane) for one, _ in decisions_in(verdict, BatchSealed)]
    return sorted(found, key=lambda one: one.number)


# What is told


@contextmanager
def _shown(terminal: Terminal, corpus: str) -> Generator[Told]:
    """Yield what hears how far an ingest is; a person sees a bar with the rate, and the time left where it is known."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[posts]} posts"),
        TextColumn("{task.fields[rate]}/s"),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    quiet = terminal.as_json or not sys.stderr.isatty()
    world = RealWorld("dev")
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(corpus, total=None, posts=0, rate=0)
        began: list[tuple[float, int]] = []

        def told(reached: Reached) -> None:
            now_s = world.elapsed_s()
            began.append((now_s, reached.posts))
            del began[1:-1]
            seconds, posts = now_s - began[0][0], reached.posts - began[0][1]
            rate = round(posts / seconds) if seconds else 0
            bar.update(task, total=reached.size, completed=reached.offset, posts=reached.posts, rate=rate)

        yield told


def _tell(ended: Ended, terminal: Terminal) -> Exit:
    stated = ended.stated
    told = msgspec.to_builtins(stated) | {
        "finished": ended.finished,
        "registered": ended.finished and ended.registered is None,
        "refusal": msgspec.to_builtins(ended.registered),
        "unanchored": ended.unanchored,
    }
    fates = ", ".join(f"{getattr(stated.tally, fate)} {fate}" for fate in Tally.__struct_fields__)
    end = f"dataset {stated.dataset}" if ended.finished else "not finished; the same command goes on from here"
    terminal.give(told, f"{stated.posts} posts in {stated.batches} batches: {fates}\n{end}")
    if ended.unanchored:
        terminal.note(f"{ended.unanchored} batches are not anchored: nobody here does; the same command asks again")
    if ended.registered is not None:
        _not_registered(ended.registered, terminal)
        return Exit.REFUSED
    return Exit.OK


def _not_registered(refusal: Refusal, terminal: Terminal) -> None:
    who = "the organ `datasets` does not answer; start it" if refusal.code == "B006" else str(refusal)
    terminal.note(f"the dataset is not registered: {who}, and run the same command again")
