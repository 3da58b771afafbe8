"""A message as it stands on the wire of NATS: what is sent, and headers, read when somebody looks at them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from nats.errors import BadHeaderError, BadSubjectError

LINE_END = b"\r\n"
PLAIN = b"NATS/1.0\r\n"  #: how headers begin that cannot be misread; a status stands in their first line instead
STATUS_AT = len("NATS/1.0 ")
STATUS_DIGITS = len("503")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
NO_SUBJECT = re.compile(r"[ \t\r\n]")
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NO_NEW_LINE = {ord("\r"): " ", ord("\n"): " "}
#: What reading a message raises that is no text where it should be: it is dropped and counted.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)


class Headers(Mapping[str, str]):
    """A message's headers, read when somebody looks at them."""

    __slots__ = ("_read", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._read: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = read_lines(self.raw[len(PLAIN) :])
        return self._read

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


def read_lines(raw: bytes) -> dict[str, str]:
    """Return `Name: value` lines as nats-py reads them: what is no name is skipped, the last of a name counts."""
    found: dict[str, str] = {}
    for line in raw.split(LINE_END):
        name, colon, value = line.partition(b":")
        key = name.strip()
        if colon and key.isascii() and not any(map(str.isspace, text := key.decode())):
            found[text] = value.strip().decode("utf-8", "replace")
    return found


def read_headers(raw: bytes) -> Mapping[str, str]:
    """Return a whole header block; one of UNREADABLE where its first line is no text or missing."""
    if raw.startswith(PLAIN):
        return Headers(raw)
    if not raw:
        return NO_HEADERS
    found: dict[str, str] = {}
    end = raw.find(LINE_END, STATUS_AT - 1)
    if raw[STATUS_AT - 1] == ord(" "):
        status = raw[STATUS_AT : STATUS_AT + STATUS_DIGITS].strip().decode()
        if status.isdigit():
            found["Status"] = status
        words = raw[STATUS_AT + STATUS_DIGITS + 1 : end].decode()
        if words:
            found["Description"] = words
    return found | read_lines(raw[end + len(LINE_END) :])


def frame(subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bytes:
    """Return one message as the server reads it; what would be read as something else raises as nats-py does."""
    if not subject or NO_SUBJECT.search(subject) or NO_SUBJECT.search(reply):
        raise BadSubjectError
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    head = "".join([*map(_header, headers.items())])
    block = f"NATS/1.0\r\n{head}\r\n".encode()
    sizes = len(block), len(block) + len(data)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply.encode(), *sizes, block, data)


def _header(named: tuple[str, str]) -> str:
    name, value = named[0].strip(), named[1].strip()
    if not name:
        return ""
    if not _is_name(name):
        raise BadHeaderError(name)
    return f"{name}: {value if value.isprintable() else value.translate(NO_NEW_LINE)}\r\n"


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return HEADER_NAME.fullmatch(name) is not None
