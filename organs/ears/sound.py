"""Sound as engines want it: one channel, 16,000 samples a second, as loud as every other, and never wholly silent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.constant import constant
from shared.wav import Sound

EAR_HERTZ = constant(16_000, "Hz", "NIM-17")
FRAME_S = 0.025
SILENT = constant(50, "units of 16 bits", "NIM-17")  # -56 dB: what no moment of a sound exceeds is silence
PEAK = constant(12_000, "units of 16 bits", "NIM-17")
NOISE_FLOOR = constant(
    30, "units of 16 bits", "NIM-17"
)  # pocketsphinx mishears every fifth sentence between true zeros
PAUSE_S = 0.25
NOISE_SEED = constant(1, "seed", "NIM-17")

Samples = NDArray[np.float64]


def resampled(sound: Sound) -> Samples:
    """Return one channel of a sound at EAR_HERTZ; what lies above half of that is left out, not folded in."""
    heard = np.frombuffer(sound.pcm, "<i2").astype(np.float64).reshape(-1, sound.channels).mean(axis=1)
    count = len(heard) * EAR_HERTZ // sound.hertz
    if not count or sound.hertz == EAR_HERTZ:
        return heard[:count]
    waves = np.fft.rfft(heard)
    kept = np.zeros(count // 2 + 1, dtype=waves.dtype)
    both = min(len(kept), len(waves))
    kept[:both] = waves[:both]
    return np.fft.irfft(kept, count) * (count / len(heard))


def is_silent(heard: Samples) -> bool:
    """Say whether no moment of a sound is loud enough to be speech."""
    frame = int(FRAME_S * EAR_HERTZ)
    whole = heard[: len(heard) // frame * frame].reshape(-1, frame)
    return not len(whole) or float(np.sqrt((whole**2).mean(axis=1)).max()) < SILENT


def levelled(heard: Samples) -> bytes:
    """Return a sound at one loudness, with a pause around it and a floor of noise under it, as samples of 16 bits.

    The noise is the same for every sound, so the same sound is heard alike.
    """
    pause = np.zeros(int(PAUSE_S * EAR_HERTZ))
    padded = np.concatenate((pause, heard * (PEAK / np.abs(heard).max()), pause))
    noise = np.random.default_rng(NOISE_SEED).normal(0, NOISE_FLOOR, len(padded))
    return pcm_of(padded + noise)


def pcm_of(heard: Samples) -> bytes:
    """Return samples of 16 bits."""
    return np.clip(np.rint(heard), -32_768, 32_767).astype("<i2").tobytes()
