"""`look` and `eyes install`: what is in a picture, and the detector that says so."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import msgspec

from deploy.asking import ask_organ
from deploy.commands.task import finish
from deploy.pictures import Sent, outlined, prepared, scaled
from deploy.terminal import Terminal
from organs.vision.choosing import detectors
from organs.vision.detector import check_extra, try_out
from organs.vision.naming import named, read_names
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.files import storing
from shared.models import MAX_MODEL_BYTES, check_wanted
from shared.subjects.vision import Seen, VisionReply, VisionRequest

_VISION = "organs.vision"


def look(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Ask the eyes what is in a picture, and print it with the places in the picture's own pixels."""
    if not args.picture.is_file():
        raise ConfigFault(f"there is no picture {args.picture}; name a PNG or JPEG file")
    sent = prepared(args.picture)
    if sent.changed:
        terminal.note(f"{args.picture.name} was sent as {sent.changed}")

    async def main() -> Exit:
        request = VisionRequest(sent.raw, round(1e6 * args.least), args.personal)
        answer = await ask_organ(_VISION, request, args.timeout, loaded, terminal)
        assert isinstance(answer, VisionReply)
        _show(answer, sent, args.out, terminal)
        return Exit.OK

    return finish(main())


def _show(answer: VisionReply, sent: Sent, out: Path | None, terminal: Terminal) -> None:
    seen = [scaled(one, (answer.width, answer.height), (sent.width, sent.height)) for one in answer.seen]
    if out is not None:
        with storing(out):
            out.write_bytes(outlined(sent, seen))
    told = msgspec.to_builtins(answer) | {"width": sent.width, "height": sent.height, "sent_as": sent.changed}
    lines = [_line(one) for one in seen] or ["nothing that it is sure enough of"]
    lines.append(f"{answer.engine} {answer.model}, {answer.latency_ms} ms, {answer.cost_ulf / 1e6:.3f} lifeforce")
    terminal.give(told | {"seen": msgspec.to_builtins(seen)}, "\n".join(lines))


def _line(one: Seen) -> str:
    return f"{one.label:<16} {one.confidence_ppm / 1e6:.2f}  ({one.left}, {one.top}) to ({one.right}, {one.bottom})"


def install(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Try a detector's file, put it where the eyes find it, and say which setting lets them see with it."""

    async def main() -> Exit:
        check_extra()
        raw = _read(args.file)
        check_wanted(raw, args.digest)
        if args.names is not None:
            raw = named(raw, read_names(args.names))
        ready = await try_out(raw)
        digest = detectors(loaded.settings).put(raw)
        told = {"detector": digest, "layout": ready.layout, "width": ready.width, "height": ready.height}
        told |= {"labels": ready.labels}
        sides = f"{ready.width}×{ready.height}"
        sentence = f"{len(ready.labels)} classes, pictures of {sides}, layout {ready.layout}"
        terminal.give(told, f'{digest}\n{sentence}\nlet the eyes see with it: vision_detector = "{digest}"')
        return Exit.OK

    return finish(main())


def _read(path: Path) -> bytes:
    """Return a file's bytes. ConfigFault where there is none, Refused F002 where it is too large."""
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise Refused(Refusal("F002", f"{path.name} has {size} bytes, at most {MAX_MODEL_BYTES} are loaded"))
        return path.read_bytes()
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name an ONNX file") from None
