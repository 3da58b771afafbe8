"""`meaning sense`, `meaning learn`, `meaning evaluate`: regions of meaning, offline and without an organism."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress, TaskID

from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.meaning import MiniLMEmbedder, Sensor
from organs.meaning.catalogue import DEFAULT, Catalogue, packed, read, write
from organs.meaning.described import catalogue_of, read_description
from organs.meaning.evaluation import Evaluation, evaluate
from organs.meaning.examples import Pair, read_domains, read_texts
from organs.meaning.learning import Example, Lesson, learn
from shared.config import Loaded
from shared.constant import constant
from shared.errors import ConfigFault, Exit
from shared.version import VERSION
from shared.world import RealWorld

EMBEDDED_AT_ONCE = constant(512, "texts", "NIM-04")  # between two moves of the progress bar
MANY_TEXTS = constant(1_000, "texts", "NIM-04")  # what takes long enough for a person to want to see it move
SINGLE_TEXTS = constant(100, "texts", "NIM-04")  # embedded one by one, to say how long a single one takes


def sense_text(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say which region a text is of, what came near, and by how much it led."""

    async def main() -> Exit:
        catalogue = _catalogue(args.catalogue, loaded)
        vector = (await _embedder(catalogue).vectors([args.text]))[0]
        found = Sensor(catalogue).sense(vector)
        limits = {"threshold_ppm": catalogue.threshold_ppm, "least_margin_ppm": catalogue.margin_ppm}
        told = {name: getattr(found, name) for name in ("region", "label", "score_ppm", "margin_ppm")}
        near = [msgspec.to_builtins(one) for one in found.candidates]
        lines = [f"region     {found.region}", f"label      {found.label}"]
        lines += [f"near       {one.similarity_ppm / 1e6:.3f}  {one.region}" for one in found.candidates]
        lines += [f"score      {found.score_ppm / 1e6:.3f}, at least {catalogue.threshold_ppm / 1e6:.3f} is known"]
        lines += [f"margin     {found.margin_ppm / 1e6:.3f}, at least {catalogue.margin_ppm / 1e6:.3f} is clear"]
        lines += [f"catalogue  {catalogue.version}, {catalogue.digest}"]
        about = {"catalogue": catalogue.digest, "model": catalogue.model}
        terminal.give(told | limits | {"candidates": near} | about, "\n".join(lines))
        return Exit.OK

    return finish(main())


def learn_regions(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make a catalogue from labelled texts, or from the descriptions in a TOML file."""

    async def main() -> Exit:
        embedder = MiniLMEmbedder()
        if args.file.suffix == ".toml":
            if args.domains is not None:
                raise ConfigFault("--domains is of use with labelled texts; a TOML file names its regions itself")
            catalogue = await catalogue_of(read_description(args.file), embedder)
        else:
            texts = read_texts(args.file)
            domains = {} if args.domains is None else read_domains(args.domains)
            pairs, apart = texts.to_learn(), texts.to_validate()
            with _progress(len(pairs) + len(apart), terminal) as bar:
                examples = await _embedded(pairs, embedder, bar, "embedding")
                validation = await _embedded(apart, embedder, bar, "embedding what the threshold is chosen by")
                rows: dict[str, TaskID] = {}

                def say(what: str, done: int, of: int) -> None:
                    rows.setdefault(what, bar.add_task(what, total=of))
                    bar.update(rows[what], completed=done)

                catalogue = learn(Lesson(examples, domains, validation), embedder.digest, args.name or VERSION, say)
        write(catalogue, args.out)
        size = len(packed(catalogue))
        told = {"out": str(args.out), "catalogue": catalogue.digest, "bytes": size, "regions": list(catalogue.names)}
        told |= {"labels": len(catalogue.labels), "threshold_ppm": catalogue.threshold_ppm}
        sentence = f"{len(catalogue.regions)} regions, {len(catalogue.labels)} labels, {size} bytes in {args.out}"
        terminal.give(told, f"{sentence}\ncatalogue  {catalogue.digest}")
        return Exit.OK

    return finish(main())


def evaluate_regions(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say how good a catalogue is on labelled texts, and what it costs."""

    async def main() -> Exit:
        catalogue = _catalogue(args.catalogue, loaded)
        pairs = read_texts(args.file).to_judge(args.part)
        if not pairs:
            raise ConfigFault(f"{args.file} has no text to judge by; name another part with --part")
        embedder, clock = _embedder(catalogue), RealWorld(loaded.settings.env)
        with _progress(len(pairs), terminal) as bar:
            examples = await _embedded(pairs, embedder, bar, "embedding")
        alone = MiniLMEmbedder()
        await alone.vectors(["the first text loads the model"])
        start = clock.elapsed_s()
        for text, _ in pairs[:SINGLE_TEXTS]:
            await alone.vectors([text])
        embed_ms = 1_000 * (clock.elapsed_s() - start) / min(SINGLE_TEXTS, len(pairs))
        sensor, start = Sensor(catalogue), clock.elapsed_s()
        found = evaluate(sensor, examples, round(args.escalation * 1e6))
        sense_ms = 1_000 * (clock.elapsed_s() - start) / len(examples)
        cost: dict[str, float] = {"embed_ms": round(embed_ms, 3), "sense_ms": round(sense_ms, 3)}
        cost |= {"catalogue_bytes": len(packed(catalogue)), "memory_bytes": psutil.Process().memory_info().rss}
        told = {"catalogue": catalogue.digest} | msgspec.to_builtins(found) | cost
        terminal.give(told, "\n".join(_lines(found, cost)))
        return Exit.OK

    return finish(main())


def _catalogue(path: Path | None, loaded: Loaded) -> Catalogue:
    return read(path or loaded.settings.meaning_catalogue or DEFAULT)


def _embedder(catalogue: Catalogue) -> MiniLMEmbedder:
    """Return the model that a catalogue's vectors are of. ConfigFault."""
    embedder = MiniLMEmbedder()
    if catalogue.model != embedder.digest:
        raise ConfigFault(f"the catalogue is of the model {catalogue.model}, installed is {embedder.digest}")
    return embedder


def _progress(texts: int, terminal: Terminal) -> Progress:
    """Return a bar on a person's standard error, for work that takes a while."""
    quiet = terminal.as_json or texts < MANY_TEXTS or not sys.stderr.isatty()
    return Progress(console=Console(stderr=True), transient=True, disable=quiet)


async def _embedded(pairs: Sequence[Pair], embedder: MiniLMEmbedder, bar: Progress, what: str) -> list[Example]:
    task, found = bar.add_task(what, total=len(pairs)), list[Example]()
    for start in range(0, len(pairs), EMBEDDED_AT_ONCE):
        some = pairs[start : start + EMBEDDED_AT_ONCE]
        vectors = await embedder.vectors([text for text, _ in some])
        found += [Example(text, vector, label) for (text, label), vector in zip(some, vectors, strict=True)]
        bar.update(task, completed=len(found))
    return found


def _lines(found: Evaluation, cost: dict[str, float]) -> list[str]:
    lines = [
        f"{found.in_scope} texts in scope, {found.out_of_scope} out of scope",
        f"labels right       {_percent(found.labels_right_ppm)}",
        f"regions right      {_percent(found.regions_right_ppm)}",
        f"wrong region said  {_percent(found.misled_ppm)}",
        f"false escalation   {_percent(found.false_escalation_ppm)}",
        f"out of scope seen  {_percent(found.recall_ppm)}",
        f"the same           {_percent(found.recall_at_stated_ppm)} where {_percent(found.stated_ppm)} is turned away",
        f"one text           {cost['embed_ms']:.2f} ms to embed, {cost['sense_ms']:.2f} ms to judge",
        f"memory             {cost['memory_bytes'] / 1e6:.0f} MB, catalogue {cost['catalogue_bytes'] / 1e6:.2f} MB",
    ]
    return lines + [f"confused           {one.texts} x {one.label} for {one.said}" for one in found.confusions]


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.2f} %"
