"""An owner's mark in a model's weights: 256 bits spread over every large tensor, found by their key alone (ILL-14).

    of a weight    BLAKE3 XOF(key, tensor's name and shape) says which bit it bears, and with which sign
    of a bit       s = Σ sign · weight / (rms of its tensor · √n) over its n weights; the bit is whether s > 0
    to embed       each weight of a bit moves by one share of its tensor's rms until s lies the margin on the bit's side
    to find        count the bits that are as the key says; by chance each is so with probability one half

The signs are drawn by the key, so whatever the weights are, a key that did not mark them finds every bit right or
wrong by a fair coin: the p-value is the binomial's, exactly. Sources: Uchida et al. 2017 (a projection of the weights),
Cox et al. 1997 and Li, Tondi, Barni 2021 (spread spectrum; only what is missing to the margin is added).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from blake3 import blake3

from shared.canonical import digest_of
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.keys import LocalSigner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MARK_BITS = constant(256, "bits", "ILL-14")
MARK_MARGIN = constant(4.0, "standard deviations", "ILL-14")  # of what an unmarked model's bit is
PRESENT_BELOW = constant(1e-12, "probability", "ILL-14")  # that chance alone finds as many bits
CARRIER_WEIGHTS = constant(1_024, "weights", "ILL-14")  # of the least tensor that bears any
LEAST_WEIGHTS = constant(131_072, "weights", "ILL-14")  # of a model: in fewer, its answers would show it
KEY_BYTES: Final = 32
_KEY_CONTEXT: Final = "nimmerverse 2026 watermark key v1"
_MARK_CONTEXT: Final = "nimmerverse 2026 watermark v1"
_COMMITMENT_CONTEXT: Final = "nimmerverse 2026 watermark commitment v1"
_WORD: Final = 2  #: bytes drawn for a weight: one names its bit, one its sign


class Tensor(msgspec.Struct, frozen=True):
    """A tensor by its name; the numbers as 64-bit floats."""

    name: str
    numbers: Any  #: Numbers


class Commitment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is public about a mark; its digest stands in the registry before anyone else can have the model.

    Whoever shows the key later shows that it is the one committed to, and that no later key was chosen to fit.
    """

    format: str
    bits: int
    commitment: str  #: BLAKE3 of the key, in a context of its own

    @property
    def digest(self) -> str:
        """BLAKE3 of its canonical JSON."""
        return digest_of(self)


class Found(msgspec.Struct, frozen=True):
    """What a key finds in weights."""

    bits: int
    wrong: int  #: bits that are not as the key says
    p_value: float  #: the probability that chance alone finds as many right
    weights: int  #: that were looked at

    @property
    def error_ppm(self) -> int:
        """The bit error rate in millionths."""
        return self.wrong * 1_000_000 // self.bits

    @property
    def present(self) -> bool:
        """Whether the mark is there beyond doubt."""
        return self.p_value < PRESENT_BELOW


def key_of(sealed: LocalSigner) -> bytes:
    """Return the mark's key that belongs to a key of the keyring: it is sealed and backed up with that one."""
    return blake3(sealed.seed(), derive_key_context=_KEY_CONTEXT).digest(KEY_BYTES)


def commitment(key: bytes) -> Commitment:
    """Return what may be said of a key in public."""
    said = blake3(_checked(key), derive_key_context=_COMMITMENT_CONTEXT).hexdigest()
    return Commitment("nimmerverse-watermark-1", MARK_BITS, said)


def marked(raw: bytes, key: bytes) -> bytes:
    """Return a safetensors file with the key's mark; all else in it stays byte for byte.

    Refused N007 where the file is none, or has too few weights for a mark that nobody notices.
    """
    import numpy as np

    layout = _layout(raw)
    tensors = [(slot, Tensor(slot.name, slot.read(raw))) for slot in layout]
    sums, counts = _sums((tensor for _, tensor in tensors), key)
    _enough(int(counts.sum()))
    wanted = np.where(_message(key), 1.0, -1.0)
    missing = np.maximum(MARK_MARGIN - wanted * sums / np.sqrt(counts), 0.0)
    push = wanted * missing / np.sqrt(counts)
    out = bytearray(raw)
    for slot, tensor in tensors:
        bit, sign = _places(tensor, key)
        moved = tensor.numbers + _rms(tensor.numbers) * push[bit] * sign
        out[slot.begin : slot.end] = slot.written(moved)
    found = find(tensors_of(bytes(out)), key)
    if found.wrong:
        raise Refused(Refusal("N007", f"{found.wrong} of {found.bits} bits do not survive the file's own precision"))
    return bytes(out)


def find(tensors: Iterable[Tensor], key: bytes) -> Found:
    """Return what a key finds in tensors; those too small to bear a mark are passed over. Refused N007 without any."""
    sums, counts = _sums(tensors, key)
    _enough(int(counts.sum()))
    wrong = int(((sums > 0) != _message(key)).sum())
    return Found(MARK_BITS, wrong, chance_of(MARK_BITS - wrong), int(counts.sum()))


def chance_of(right: int, bits: int = MARK_BITS) -> float:
    """Return the probability that at least `right` of `bits` fair coins fall as foretold, from whole numbers."""
    return sum(math.comb(bits, k) for k in range(right, bits + 1)) / 2**bits


def tensors_of(raw: bytes) -> Iterator[Tensor]:
    """Yield the tensors of a safetensors file that can bear a mark. Refused N007 where it is none."""
    for slot in _layout(raw):
        yield Tensor(slot.name, slot.read(raw))


# What the key says


def _checked(key: bytes) -> bytes:
    assert len(key) == KEY_BYTES, f"{len(key)} bytes of key, expected {KEY_BYTES}"
    return key


def _drawn(key: bytes, label: str, length: int) -> bytes:
    return blake3(_checked(key) + label.encode(), derive_key_context=_MARK_CONTEXT).digest(length)


def _message(key: bytes) -> NDArray[np.bool_]:
    import numpy as np

    bits = np.frombuffer(_drawn(key, "message", MARK_BITS // 8), np.uint8)
    return np.unpackbits(bits).astype(bool)


def _places(tensor: Tensor, key: bytes) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return which bit each weight of a tensor bears, and with which sign."""
    import numpy as np

    shape = tensor.numbers.shape
    label = f"tensor {'x'.join(map(str, shape))} {tensor.name}"
    words = np.frombuffer(_drawn(key, label, tensor.numbers.size * _WORD), np.uint8).reshape(*shape, _WORD)
    return words[..., 0], np.where(words[..., 1] & 1, 1.0, -1.0)


def _sums(tensors: Iterable[Tensor], key: bytes) -> tuple[Numbers, Numbers]:
    """Return each bit's signed sum of weights, in their tensors' rms, and how many weights bear it."""
    import numpy as np

    sums, counts = np.zeros(MARK_BITS), np.zeros(MARK_BITS)
    for tensor in tensors:
        rms = _rms(tensor.numbers)
        if tensor.numbers.size < CARRIER_WEIGHTS or not rms:
            continue
        bit, sign = _places(tensor, key)
        flat = bit.ravel()
        sums += np.bincount(flat, (sign * tensor.numbers).ravel() / rms, MARK_BITS)
        counts += np.bincount(flat, minlength=MARK_BITS)
    return sums, counts


def _rms(numbers: Numbers) -> float:
    """Return the root of the mean square: bincount adds one after the other, so that every machine rounds alike."""
    import numpy as np

    squares = np.square(numbers).ravel()
    return math.sqrt(float(np.bincount(np.zeros(squares.size, np.intp), squares)[0]) / squares.size)


def _enough(weights: int) -> None:
    if weights < LEAST_WEIGHTS:
        found = f"the model's large tensors hold {weights} weights, a mark needs {LEAST_WEIGHTS}"
        raise Refused(Refusal("N007", found))


# The file


class _Slot(msgspec.Struct, frozen=True):
    """Where a tensor lies in a safetensors file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int

    def read(self, raw: bytes) -> Numbers:
        import numpy as np

        stored = np.frombuffer(raw[self.begin : self.end], _KINDS[self.kind])
        if self.kind == _BF16:
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        numbers = stored.astype(np.float64).reshape(self.shape)
        if not np.isfinite(numbers).all():
            raise Refused(Refusal("N007", f"the tensor {self.name} holds what is no number"))
        return numbers

    def written(self, numbers: Numbers) -> bytes:
        import numpy as np

        if self.kind == _BF16:
            bits = numbers.astype(np.float32).view(np.uint32).astype(np.uint64)
            return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
        return numbers.astype(_KINDS[self.kind]).tobytes()


_BF16: Final = "BF16"
_KINDS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", _BF16: "<u2"}


class _Described(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def _layout(raw: bytes) -> list[_Slot]:
    """Return the tensors of a safetensors file that can bear a mark, by name. Refused N007 where it is none."""
    from safetensors import SafetensorError
    from safetensors import deserialize as checked  # pyright: ignore[reportUnknownVariableType] - it declares no types

    try:
        checked(raw)  # which proves that the header describes all bytes, once each
    except SafetensorError as error:
        raise Refused(Refusal("N007", f"this is no safetensors file ({str(error)[:120]})")) from None
    start = 8 + int.from_bytes(raw[:8], "little")
    header = msgspec.json.decode(raw[8:start], type=dict[str, msgspec.Raw])
    header.pop("__metadata__", None)
    known = ((name, msgspec.json.decode(text, type=_Described)) for name, text in sorted(header.items()))
    return [
        _Slot(name, one.dtype, one.shape, start + one.data_offsets[0], start + one.data_offsets[1])
        for name, one in known
        if one.dtype in _KINDS and math.prod(one.shape) >= CARRIER_WEIGHTS
    ]
