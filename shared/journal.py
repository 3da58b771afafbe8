"""Log lines: an event name and fields, one JSON object per line. Every event is declared here; docs/logs.md lists them.

A line is for the people who look after a machine. What must be true later is a decision in the log, never a line here.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final, TextIO

from shared.settings import Level

ROOT: Final = "nimmerverse"

#: Every event a line may name: its level and the sentence that says when it is written.
EVENTS: Final[dict[str, tuple[Level, str]]] = {
    "part_started": ("info", "A part began to work; `greeted` says how the steward answered its handshake."),
    "part_stopped": ("info", "A part drained and stopped."),
    "part_waits": ("info", "The organism that a part worked beside ended; the part joins the next one on its home."),
    "part_rests": ("info", "There is no lifeforce: a part that may rest takes nothing; `detail` says which balance."),
    "part_wakes": ("info", "There is lifeforce again, or nobody says that there is none: the part works."),
    "part_broken": ("error", "A bug of ours stopped a part; the line carries the error."),
    "message_refused": ("debug", "A part could not use a message; `code` and `detail` say why. Also counted."),
    "handler_failed": ("warning", "A part's own code failed on a message, which was dead-lettered."),
    "message_garbled": ("warning", "The bus delivered a subject, reply or header that is no text; it was dropped."),
    "fast_lane_off": (
        "warning",
        "The installed nats-py is not the one that the bus's fast lane was made for; nats-py's own parser serves.",
    ),
    "link_lost": ("warning", "A connection to the bus was lost; it reconnects by itself."),
    "join_failed": ("warning", "A part could not join the organism that runs now, `detail` says why; it tries again."),
    "link_back": ("info", "A connection to the bus is up again."),
    "log_inconsistent": (
        "error",
        "The notary signs nothing: the log contradicts what was signed, or its key ended; `detail` says how.",
    ),
    "tiles_made_again": ("warning", "The notary's tiles were lost or damaged, and were made again from the log."),
    "views_dropped": (
        "warning",
        "The views showed `reached` entries of another log; they are built anew.",
    ),
    "views_rebuilding": ("info", "Views are built from the log beside the present ones: `reached` entries of `of`."),
    "views_rebuilt": ("info", "Views that were built from the log took the place of those before."),
    "anchor_failed": ("warning", "A calendar or an authority gave no usable answer; it is asked again later."),
    "erasure_delayed": ("warning", "An ordered erasure cannot be carried out yet; `detail` says why. It is repeated."),
    "model_not_loaded": (
        "warning",
        "The boundary's installed model cannot be loaded, so its rules speak; `detail` says why.",
    ),
    "signature_made": (
        "info",
        "The signing proxy signed for `caller` with `key`; `digest` is BLAKE3 of what was signed.",
    ),
    "signature_refused": ("warning", "The signing proxy refused `caller`; `code` and `detail` say why."),
    "extra_missing": (
        "warning",
        "A part works without its optional extra and refuses what needs it; `detail` says how that is installed.",
    ),
    "notary_signs": (
        "info",
        "The notary signs from here on; others verify it with `key`, and `second`.",
    ),
    "fork_seen": ("error", "The witness saw two trees of one size that one log signed; `ForkSeen` carries both notes."),
    "witness_listens": ("info", "The witness answers at `url`; its cosignatures verify with `key`."),
    "witness_stuck": (
        "error",
        "The witness cannot remember what it would cosign, so it cosigns nothing.",
    ),
    "witness_failed": ("warning", "A witness did not cosign a checkpoint, which stands without it; `detail` says why."),
    "model_refused": ("warning", "The sentence model cannot be used, and nothing was embedded; `detail` says why."),
    "models_served": ("info", "organd answers at `url` as Ollama does."),
    "upstream_unreachable": (
        "warning",
        "The model server behind organd did not list its models; ours stand alone.",
    ),
    "memory_differs": (
        "warning",
        "A passage that memory keeps is not what the log says; it was not told, and memory is read from the log again.",
    ),
    "memory_lingers": (
        "error",
        "What memory let go of cannot be removed, `detail` says where; it takes up nothing more till then.",
    ),
    "memory_lost": ("warning", "What memory kept is gone, damaged or of another log; it is read from the log again."),
    "memory_refused": ("warning", "A decision about memory cannot be applied, as when it arrived; `detail` says why."),
    "memory_waits": ("warning", "Outcomes wait to be remembered, because nobody says what they mean."),
    "stream_broken": ("warning", "The link to a stream of posts ended; it is connected again; `detail` says how."),
    "stream_refused": ("warning", "The server of a stream of posts answered `status`; it is asked again later."),
    "post_refused": ("warning", "A post of a stream cannot be read and was passed over; `code` and `detail` say why."),
    "server_restarted": ("warning", "An embedded server had stopped and was started again."),
}

_NUMBERS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def record(component: str, event: str, **fields: str | int) -> None:
    """Write one line about a declared event of a component; nothing where nobody configured a stream."""
    level, _ = EVENTS[event]
    logger = logging.getLogger(f"{ROOT}.{component}")
    if logger.isEnabledFor(_NUMBERS[level]):
        logger.log(_NUMBERS[level], event, extra={"fields": fields})


def configure(level: Level, stream: TextIO) -> None:
    """Write lines of at least `level` to `stream`, as JSON; called once by whatever runs a process."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLine())
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(_NUMBERS[level])


def render_logs_md() -> str:
    """The log reference, `docs/logs.md`."""
    lines = [
        "# Log lines",
        "",
        "Generated by `nimmerverse subjects --write`; do not edit.",
        "",
        "`up` and `part` write one JSON object per line to standard error: `time`, `level`, `component`, `event` and",
        "the event's own fields. `log_level` chooses the least severe line.",
        "",
        "| event | level | when |",
        "|---|---|---|",
        *(f"| `{event}` | {level} | {sentence} |" for event, (level, sentence) in sorted(EVENTS.items())),
    ]
    return "\n".join(lines) + "\n"


class _JsonLine(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, str | int] = getattr(record, "fields", {})
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {
            "time": moment,
            "level": record.levelname.lower(),
            "component": record.name.removeprefix(f"{ROOT}."),
            "event": record.getMessage(),
        }
        return json.dumps({**head, **fields}, ensure_ascii=False)


logging.getLogger(ROOT).addHandler(logging.NullHandler())
logging.getLogger(ROOT).setLevel(logging.CRITICAL)
