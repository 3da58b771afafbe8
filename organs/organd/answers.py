"""What Ollama's REST protocol answers, as plain data; the moment is given by whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from organs.organd.ports import Held, Piece
from organs.organd.supervisor import Slot

MILLION, THOUSAND = 1_000_000, 1_000
YEAR_2300_MS = 10_413_792_000_000  #: as far away as Ollama's own clients read; a model that stays for ever


def moment(ms: int) -> str:
    """Return a time as Ollama writes it: RFC 3339 in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def said(name: str, now_ms: int, text: str, *, chat: bool) -> dict[str, Any]:
    """Return one piece of an answer."""
    content = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
    return {"model": name, "created_at": moment(now_ms), **content, "done": False}


def finished(reason: str, piece: Piece, total_ns: int, load_ns: int) -> dict[str, Any]:
    """Return what the last piece of an answer says besides."""
    return {
        "done": True,
        "done_reason": reason,
        "total_duration": total_ns,
        "load_duration": load_ns,
        "prompt_eval_count": piece.prompt_tokens,
        "prompt_eval_duration": piece.prompt_ns,
        "eval_count": piece.tokens,
        "eval_duration": piece.tokens_ns,
    }


def touched(name: str, now_ms: int, reason: str, *, chat: bool) -> dict[str, Any]:
    """Return the answer to an empty prompt: the model was loaded or unloaded."""
    return {**said(name, now_ms, "", chat=chat), "done": True, "done_reason": reason}


def embedded(name: str, vectors: Sequence[Sequence[float]], tokens: int, total_ns: int, load_ns: int) -> dict[str, Any]:
    """Return the answer to `embed`."""
    durations = {"total_duration": total_ns, "load_duration": load_ns}
    return {"model": name, "embeddings": vectors, **durations, "prompt_eval_count": tokens}


def listed(held: Held) -> dict[str, Any]:
    """Return one row of `tags`."""
    return {
        "name": held.name,
        "model": held.name,
        "modified_at": moment(held.modified_ms),
        "size": held.size,
        "digest": held.digest,
        "details": details(held),
    }


def running(slot: Slot, now_ms: int) -> dict[str, Any]:
    """Return one row of `ps`."""
    held, worker, device = slot.held, slot.worker, slot.device
    assert held is not None
    assert worker is not None
    assert device is not None
    memory = worker.memory_bytes()
    life = slot.life
    until_ms = life.until_ms if life.state == "idle" or life.keep_ms is None else now_ms + life.keep_ms
    return {
        "name": held.name,
        "model": held.name,
        "size": max(memory, held.size),
        "size_vram": held.size if device.kind == "gpu" else 0,
        "digest": held.digest,
        "details": details(held),
        "expires_at": moment(YEAR_2300_MS if until_ms is None else min(until_ms, YEAR_2300_MS)),
        "context_length": worker.context,
    }


def shown(held: Held) -> dict[str, Any]:
    """Return the answer to `show`."""
    facts = held.facts
    info = {
        "general.architecture": facts.architecture,
        "general.parameter_count": facts.parameters,
        f"{facts.architecture}.context_length": facts.context,
        f"{facts.architecture}.embedding_length": facts.width,
    }
    return {
        "modelfile": f"FROM {held.path.name}\n",
        "parameters": "",
        "template": facts.template,
        "details": details(held),
        "model_info": info,
        "capabilities": ["embedding" if facts.embeds else "completion"],
        "modified_at": moment(held.modified_ms),
    }


def details(held: Held) -> dict[str, Any]:
    """Return what a model is, in short."""
    facts = held.facts
    return {
        "parent_model": "",
        "format": "gguf",
        "family": facts.architecture,
        "families": [facts.architecture],
        "parameter_size": _size(facts.parameters),
        "quantization_level": facts.quantization,
    }


def _size(parameters: int) -> str:
    if parameters >= THOUSAND * MILLION:
        return f"{parameters / (THOUSAND * MILLION):.1f}B"
    return f"{parameters / MILLION:.2f}M" if parameters >= MILLION else f"{parameters / THOUSAND:.1f}K"
