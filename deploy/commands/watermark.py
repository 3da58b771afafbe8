"""`models mark` and `models check-mark`: an owner's mark in a model's weights (ILL-14)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from blake3 import blake3

from deploy.host import OPERATOR
from deploy.terminal import Terminal
from shared.boundary.header import MAGIC
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.extras import how_to_install, lacking
from shared.files import write_private
from shared.home import Keys
from shared.watermark import PRESENT_BELOW, Tensor, commitment, find, key_of, marked, tensors_of
from shared.world import RealWorld

KIND = "mark"  #: of the keyring's key


def mark(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write weights with the owner's mark, and the GGUF file of the same where it is asked for."""
    raw = _read(args.file)
    if args.gguf is not None:
        _need_gguf()
    key = _key(args.key_name, loaded, make=True)
    out = marked(raw, key)
    write_private(args.out, out)
    told: dict[str, object] = {"weights": blake3(out).hexdigest(), "watermark": commitment(key).digest}
    lines = [f"marked   {args.out}", f"weights  {told['weights']}", f"mark     {told['watermark']}"]
    if args.gguf is not None:
        told["model"] = _write_gguf(args.file.parent, out, args.gguf)
        lines.append(f"model    {told['model']}")
    told["commitment"] = msgspec.to_builtins(commitment(key))
    terminal.give(told, "\n".join([*lines, "the mark's digest is what a registration says of it; its key stays here"]))
    return Exit.OK


def check_mark(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say how much of the owner's mark is in weights, and how likely chance alone is to find as much."""
    raw = _read(args.file)
    key = _key(args.key_name, loaded, make=False)
    tensors: Iterable[Tensor] = gguf_tensors(args.file) if raw.startswith(MAGIC) else tensors_of(raw)
    found = find(tensors, key)
    told = {"bits": found.bits, "wrong": found.wrong, "error_ppm": found.error_ppm, "p_value": found.p_value}
    text = f"{found.wrong} of {found.bits} bits are wrong in {found.weights} weights, by chance {found.p_value:.1e}"
    terminal.give(told | {"present": found.present, "watermark": commitment(key).digest}, text)
    if not found.present:
        raise Refused(Refusal("N007", f"{text}; a mark is there below {PRESENT_BELOW:.0e}"))
    return Exit.OK


def _key(name: str, loaded: Loaded, *, make: bool) -> bytes:
    return key_of(Keys(loaded.settings, RealWorld(loaded.settings.env)).owned(KIND, name, OPERATOR, make=make))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigFault(f"there is no file {path}; give a model's weights")
    return path.read_bytes()


def _need_gguf() -> None:
    if missing := lacking("gguf", "torch"):
        raise ConfigFault(f"a GGUF file needs {' and '.join(missing)}: {how_to_install('train')}")


def gguf_tensors(path: Path) -> Iterator[Tensor]:
    """Yield the tensors of a GGUF file as what they stand for, quantised or not."""
    _need_gguf()
    from gguf import GGUFReader
    from gguf.quants import dequantize

    for tensor in GGUFReader(path).tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        numbers = dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        yield Tensor(tensor.name, numbers.reshape(shape))


def _write_gguf(folder: Path, raw: bytes, path: Path) -> str:
    """Write marked weights as the boundary's model and return its digest; their record says of which shape it is."""
    from shared.boundary.task import TASK
    from shared.boundary.training.export import with_weights, write_gguf
    from shared.boundary.training.plan import read_record
    from shared.boundary.training.training import RECORD

    record = folder / RECORD
    if not record.is_file():
        raise ConfigFault(f"there is no {record}: --gguf needs the record of the training that made the weights")
    plan = read_record(record.read_bytes()).plan
    draft = path.with_name(f"{path.name}.draft")
    write_gguf(with_weights(plan.shape, raw), TASK, plan.digest, draft)
    model = draft.read_bytes()
    write_private(path, model)
    return blake3(model).hexdigest()
