"""What the child process of the voice runs: espeak-ng, a C library with one global state, by ctypes.

The engine is GPL-3.0-or-later; nothing of it is loaded but here, and only where the extra `voice` is installed.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

SYNCHRONOUS = 2  #: samples go to a callback, and nothing is played
DONT_EXIT = 0x8000  #: an engine that cannot begin says so instead of ending the process
CHARS_UTF8 = 1
RATE = 1  #: the parameter that is the speed, in words per minute
STOP = 1  #: what a callback answers where it has enough
FRAME_BYTES = 2

Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def load(_: dict[str, Any], _given: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return what speaks one text. Raises ImportError without the extra, RuntimeError where it does not begin."""
    loader: Any = importlib.import_module("espeakng_loader")
    library = ctypes.cdll.LoadLibrary(loader.get_library_path())
    data_path = str(loader.get_data_path()).encode()
    hertz = library.espeak_Initialize(SYNCHRONOUS, 0, data_path, DONT_EXIT)
    if hertz <= 0:
        raise RuntimeError(f"espeak-ng does not begin (status {hertz})")
    library.espeak_Info.restype = ctypes.c_char_p
    version = library.espeak_Info(None).decode()
    pcm, room = bytearray(), 0

    @Heard
    def heard(samples: int | None, count: int, _: object) -> int:
        if samples and count:
            pcm.extend(ctypes.string_at(samples, FRAME_BYTES * count))
        return STOP if len(pcm) > room else 0

    def speak(asked: dict[str, Any], _data: bytes) -> tuple[dict[str, Any], bytes]:
        nonlocal room
        library.espeak_SetSynthCallback(heard)  # which is so kept: espeak-ng has its address alone
        pcm.clear()
        room = int(asked["room_bytes"])
        if library.espeak_SetVoiceByName(str(asked["voice"]).encode()):
            return {"unknown_voice": True}, b""
        library.espeak_SetParameter(RATE, int(asked["words_per_minute"]), 0)
        text = str(asked["text"]).encode() + b"\0"
        status = library.espeak_Synth(text, len(text), 0, 0, 0, CHARS_UTF8, None, None)
        library.espeak_Synchronize()
        if status:
            raise RuntimeError(f"espeak-ng did not speak (status {status})")
        return {"hertz": hertz, "engine": f"espeak-ng {version}", "too_long": len(pcm) > room}, bytes(pcm)

    return speak
