"""The leaf of an entry: what the log's tree commits to, and the entry again from the leaf alone.

    leaf = u64 broker time (ns) ‖ envelope                                 delivered on the subject it was signed for
         | u64 broker time (ns) ‖ 0xc1 ‖ u16 length ‖ subject ‖ bytes      anything else that was stored

0xc1 begins no MessagePack, so the two are never confused, and each entry has exactly one leaf: a reader of leaves alone
judges every entry as the reader on the bus did.
"""

from __future__ import annotations

from shared.envelope.envelope import Sealed, read
from shared.errors import Refused
from shared.log.entry import MAX_LEAF_BYTES, Entry

_ODD = b"\xc1"
_TIME_BYTES = 8
_HEAD_BYTES = _TIME_BYTES + 3  #: time, mark, length of the subject


def leaf_of(entry: Entry, sealed: Sealed | None = None) -> bytes:
    """Return an entry's leaf; `sealed` is its envelope where it has been read already."""
    time = entry.time_ns.to_bytes(_TIME_BYTES, "big")
    sealed = sealed or sealed_in(entry.raw)
    if sealed is not None and sealed.attributes.subject == entry.subject:
        return time + entry.raw
    subject = entry.subject.encode()
    leaf = time + _ODD + len(subject).to_bytes(2, "big") + subject + entry.raw
    assert len(leaf) <= MAX_LEAF_BYTES, "what the stream takes fits into a leaf"
    return leaf


def entry_of(index: int, leaf: bytes) -> Entry:
    """Return the entry of a leaf; ValueError where the leaf is not the one its entry has."""
    return entry_and_sealed(index, leaf)[0]


def entry_and_sealed(index: int, leaf: bytes) -> tuple[Entry, Sealed | None]:
    """Return the entry of a leaf, and its envelope where it holds one; ValueError as entry_of."""
    time_ns, rest = int.from_bytes(leaf[:_TIME_BYTES], "big"), leaf[_TIME_BYTES:]
    if not _TIME_BYTES < len(leaf) <= MAX_LEAF_BYTES:
        raise ValueError(f"a leaf has more than {_TIME_BYTES} and at most {MAX_LEAF_BYTES} bytes, found {len(leaf)}")
    if rest[:1] == _ODD:
        length = int.from_bytes(leaf[_HEAD_BYTES - 2 : _HEAD_BYTES], "big")
        subject, raw = leaf[_HEAD_BYTES : _HEAD_BYTES + length].decode(), leaf[_HEAD_BYTES + length :]
        entry = Entry(index, subject, time_ns, raw)
        if len(subject.encode()) != length or leaf_of(entry) != leaf:
            raise ValueError("the leaf is not the one of its entry")
        return entry, None
    sealed = sealed_in(rest)
    if sealed is None:
        raise ValueError("the leaf holds no envelope, and does not say on which subject it was delivered")
    return Entry(index, sealed.attributes.subject, time_ns, rest), sealed


def sealed_in(raw: bytes) -> Sealed | None:
    """Return the envelope in these bytes, None where there is none."""
    try:
        return read(raw)
    except Refused:
        return None
