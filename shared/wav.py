"""WAV files with 16-bit PCM samples, read strictly and written plainly; both voice and ears speak them.

RIFF is little-endian: `RIFF` size `WAVE`, then chunks of a 4-byte name, a size and that many bytes, padded to even.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.constant import constant
from shared.errors import Refusal, Refused

MIN_HERTZ = constant(8_000, "Hz", "NIM-17")
MAX_HERTZ = constant(96_000, "Hz", "NIM-17")
MAX_CHANNELS = constant(2, "channels", "NIM-17")
SAMPLE_BYTES = constant(2, "bytes", "NIM-17")
MAX_CHUNKS = constant(32, "chunks", "X-12")
STREAMED = 0xFFFF_FFFF  #: the size that is written where nobody knew it yet: all that follows

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
_FORMAT = struct.Struct("<HHIIHH")
_HEAD, _CHUNK = struct.Struct("<4sI4s"), struct.Struct("<4sI")


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples, 16 bits each with a sign, little-endian, the channels of a moment side by side."""

    pcm: bytes
    hertz: int
    channels: int = 1

    @property
    def duration_ms(self) -> int:
        """How long it sounds."""
        return 1_000 * len(self.pcm) // (SAMPLE_BYTES * self.channels * self.hertz)


def write_wav(sound: Sound) -> bytes:
    """Return a sound as a WAV file."""
    frame = SAMPLE_BYTES * sound.channels
    form = _FORMAT.pack(_PCM, sound.channels, sound.hertz, sound.hertz * frame, frame, 8 * SAMPLE_BYTES)
    body = _CHUNK.pack(b"fmt ", len(form)) + form + _CHUNK.pack(b"data", len(sound.pcm)) + sound.pcm
    return _HEAD.pack(b"RIFF", len(body) + 4, b"WAVE") + body


def read_wav(raw: bytes) -> Sound:
    """Return the sound in a WAV file. Refused H001, with what was found and what was expected."""
    if len(raw) < _HEAD.size or raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise _no(f"{len(raw)} bytes that begin with {raw[:4]!r}", "RIFF and WAVE at its beginning")
    _check_end(raw, 8, int.from_bytes(raw[4:8], "little"), "the file")
    form, at = None, _HEAD.size
    for _ in range(MAX_CHUNKS):
        if at + _CHUNK.size > len(raw):
            raise _no("no sound in it", "a chunk `data`")
        name, size = _CHUNK.unpack_from(raw, at)
        at += _CHUNK.size
        _check_end(raw, at, size, f"its chunk {name!r}")
        if name == b"fmt ":
            form = _format(raw[at : at + size])
        elif name == b"data":
            if form is None:
                raise _no("samples of no format", "a chunk `fmt ` before `data`")
            return _sound(raw[at:] if size == STREAMED else raw[at : at + size], *form)
        at += size + size % 2
    raise _no(f"more than {MAX_CHUNKS} chunks before its samples", "the samples among the first")


def _check_end(raw: bytes, at: int, size: int, what: str) -> None:
    if size != STREAMED and at + size > len(raw):
        raise _no(f"{len(raw) - at} bytes of {what}", f"the {size} that it says it has: it was cut short")


def _format(raw: bytes) -> tuple[int, int]:
    """Return samples per second and channels."""
    if len(raw) < _FORMAT.size:
        raise _no(f"a format of {len(raw)} bytes", f"{_FORMAT.size}")
    kind, channels, hertz, _, frame, bits = _FORMAT.unpack_from(raw)
    if kind == _EXTENSIBLE and raw[24:40] == _PCM_GUID:
        kind = _PCM
    if kind != _PCM or bits != 8 * SAMPLE_BYTES:
        raise _no(f"samples of kind {kind} with {bits} bits", "PCM (kind 1) with 16 bits")
    if not 1 <= channels <= MAX_CHANNELS or frame != SAMPLE_BYTES * channels:
        raise _no(f"{channels} channels in frames of {frame} bytes", "one channel or two, side by side")
    if not MIN_HERTZ <= hertz <= MAX_HERTZ:
        raise _no(f"{hertz} samples a second", f"{MIN_HERTZ} to {MAX_HERTZ}")
    return hertz, channels


def _sound(pcm: bytes, hertz: int, channels: int) -> Sound:
    if len(pcm) % (SAMPLE_BYTES * channels):
        raise _no(f"{len(pcm)} bytes of samples", "whole samples of every channel")
    return Sound(pcm, hertz, channels)


def _no(found: str, expected: str) -> Refused:
    return Refused(Refusal("H001", f"found {found}, expected {expected}; send a WAV file with 16-bit PCM samples"))
