"""The zip a bundle is: every member stored as it is, one fixed header, one order; so there is one file for one content.

A reader goes through it from the front, and writes the directory at its end anew: bytes are valid exactly if they are
the ones that follow from the members. Nothing is inflated, no path is opened, every size is bounded before it is read.
Source: PKWARE APPNOTE 6.3 sections 4.3 and 4.4 (`unzip` and Python's zipfile read it).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

from shared.constant import constant
from shared.errors import Exit, Fault, Refusal, Refused

MAX_MEMBERS = constant(65_000, "members", "X-12")
MAX_MEMBER_BYTES = constant(33_554_432, "bytes", "X-12")
MAX_ZIP_BYTES = constant(4_294_967_295, "bytes", "X-12")  #: beyond, the format would be another one
NAME: Final = re.compile(
    r"manifest\.json|checkpoint|keys\.json|README\.txt|verify\.py|anchors/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
    r"|leaf/(0|[1-9][0-9]{0,18})|tile/(entries|[0-7])/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[1-9][0-9]{0,2})?"
)
_FORM: Final = (20, 0, 0, 0, 33)  #: version, flags, method (stored), time, date (1980-01-01)
_MEMBER: Final = struct.Struct("<4s5H3I2H")
_LISTED: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")


class BrokenBundle(Fault):
    """A bundle that is not what its manifest lists; `exit` says in which way."""

    def __init__(self, code: Exit, why: str) -> None:
        super().__init__(why)
        self.exit = code


@dataclass(frozen=True, slots=True)
class Member:
    """One member: where its bytes begin, how many they are, their digest, and whether the header's checksum fits."""

    start: int
    size: int
    sha256: str
    whole: bool


def write_zip(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a bundle's zip. Refused B003 where it would be larger than the format allows."""
    directory, at, count = b"", 0, 0
    for name, data in members:
        assert NAME.fullmatch(name), name
        header, listed = _headers(name, zlib.crc32(data), len(data), at)
        file.write(header + data)
        directory, at, count = directory + listed, at + len(header) + len(data), count + 1
        if count > MAX_MEMBERS or len(data) > MAX_MEMBER_BYTES or at + len(directory) > MAX_ZIP_BYTES:
            raise Refused(Refusal("B003", "the log is larger than one bundle may be; copy its folder of tiles instead"))
    file.write(directory + _end(directory, count, at))


def read_zip(file: BinaryIO) -> dict[str, Member]:
    """Return the members in order; BrokenBundle where the file is not exactly a bundle's zip."""
    members: dict[str, Member] = {}
    directory, at = b"", 0
    while (mark := _take(file, 4)) == b"PK\3\4":
        _, *form, crc, stored, size, named, extra = _MEMBER.unpack(mark + _take(file, _MEMBER.size - 4))
        if tuple(form) != _FORM or stored != size or extra:
            raise BrokenBundle(Exit.TAMPERED, f"the member at byte {at} is not written as a bundle's are")
        name = _take(file, named).decode("latin-1")
        if not NAME.fullmatch(name) or name in members:
            raise BrokenBundle(Exit.ENLARGED, f"{name[:60]!r} has no place in a bundle, or has two")
        if size > MAX_MEMBER_BYTES or len(members) >= MAX_MEMBERS:
            raise BrokenBundle(Exit.ENLARGED, f"{name} is larger than a member may be, or one member too many")
        data = _take(file, size)
        header, listed = _headers(name, crc, size, at)
        start = at + len(header)
        members[name] = Member(start, size, hashlib.sha256(data).hexdigest(), zlib.crc32(data) == crc)
        directory, at = directory + listed, start + size
    _check_end(file, mark, directory + _end(directory, len(members), at))
    return members


def _check_end(file: BinaryIO, mark: bytes, wanted: bytes) -> None:
    found = mark + file.read(len(wanted) - len(mark) + 1)
    if found == wanted:
        return
    if wanted.startswith(found):
        raise BrokenBundle(Exit.TRUNCATED, "the bundle's end is cut off")
    if found.startswith(wanted):
        raise BrokenBundle(Exit.ENLARGED, "something follows the bundle's end")
    raise BrokenBundle(Exit.TAMPERED, "the bundle's directory is not that of its members")


def _headers(name: str, crc: int, size: int, at: int) -> tuple[bytes, bytes]:
    """Return what stands before a member's bytes, and its line in the directory."""
    raw = name.encode()
    header = _MEMBER.pack(b"PK\3\4", *_FORM, crc, size, size, len(raw), 0)
    listed = _LISTED.pack(b"PK\1\2", 20, *_FORM, crc, size, size, len(raw), 0, 0, 0, 0, 0, at)
    return header + raw, listed + raw


def _end(directory: bytes, count: int, at: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), at, 0)


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BrokenBundle(Exit.TRUNCATED, "the file ends before the bundle does")
    return data
