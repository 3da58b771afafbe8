"""An owner's mark: it is found by its key alone, by an exact chance, and it outlives what models meet."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from deploy.commands.watermark import gguf_tensors
from shared.boundary.task import TASK
from shared.boundary.tokens import Vocabulary
from shared.boundary.training.export import weights, with_weights, write_gguf
from shared.boundary.training.network import Network, Shape
from shared.errors import Exit, Refused
from shared.keys import LocalSigner
from shared.watermark import (
    LEAST_WEIGHTS,
    MARK_BITS,
    MARK_MARGIN,
    PRESENT_BELOW,
    Found,
    chance_of,
    commitment,
    find,
    key_of,
    marked,
    tensors_of,
)
from tests.boundaries import SMALL
from tests.commands import Home

pytestmark = pytest.mark.spec("ILL-14")
KEY, OTHER = b"k" * 32, b"o" * 32
SHAPE = Shape(len(Vocabulary(TASK)))

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def plain() -> bytes:
    """The weights of a network of the boundary's usual size, which is not trained: marks know no training."""
    return weights(Network(SHAPE, 1))


@pytest.fixture(scope="module")
def owned(plain: bytes) -> bytes:
    """The same with the mark."""
    return marked(plain, KEY)


def found(raw: bytes, key: bytes = KEY) -> Found:
    """What a key finds in a file."""
    return find(tensors_of(raw), key)


def changed(raw: bytes, how: Any) -> bytes:  # noqa: ANN401 - what is done with each tensor
    """A file whose large tensors are others."""
    return save({name: how(one) if one.size > 1_000 else one for name, one in load(raw).items()})


def rms(one: NDArray[Any]) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.square(one.astype(np.float64)).mean()))


# What a mark is


def test_a_mark_is_found_by_its_key(owned: bytes) -> None:
    """Every bit is there, and chance alone would find them once in 2^256."""
    assert Found(256, 0, 2.0**-256, 594_560) == found(owned)
    assert found(owned).present


def test_another_key_and_an_unmarked_model_show_none(plain: bytes, owned: bytes) -> None:
    """A wrong key finds chance in a marked model, and so does the right one in an unmarked."""
    for raw, key in ((owned, OTHER), (plain, KEY), (plain, OTHER)):
        assert 90 < found(raw, key).wrong < 166
        assert not found(raw, key).present


def test_wrong_keys_are_as_often_right_as_coins(owned: bytes) -> None:
    """Over 60 keys the p-value is below one half about half of the time, and never near the threshold."""
    keys = [blake3(bytes([number])).digest() for number in range(60)]
    chances = sorted(found(owned, key).p_value for key in keys)
    assert chances[0] > 1e-5
    assert 18 <= sum(chance < 0.5 for chance in chances) <= 42


def test_the_chance_is_the_binomials() -> None:
    """Whole numbers alone: all right, none needed, half of two, and the last count that is no proof."""
    assert (2.0**-256, 1.0, 0.75) == (chance_of(256), chance_of(0), chance_of(1, 2))
    assert Fraction(chance_of(3, 4)) == Fraction(5, 16)
    assert chance_of(185) < PRESENT_BELOW < chance_of(183)


def test_marking_is_the_same_bytes_each_time(plain: bytes, owned: bytes) -> None:
    """The same weights and the same key give the same file, and marking it again moves no weight by a hundredth."""
    assert owned == marked(plain, KEY)
    again, before = load(marked(owned, KEY)), load(owned)
    assert [] == [name for name, one in before.items() if np.abs(again[name] - one).max() > 0.01 * rms(one)]


def test_only_large_tensors_move_and_by_little(plain: bytes, owned: bytes) -> None:
    """What is small stays byte for byte, and no weight moves by more than a quarter of its tensor's size."""
    before, after = load(plain), load(owned)
    assert before.keys() == after.keys()
    for name, one in before.items():
        moved = float(np.abs(after[name] - one).max())
        assert moved <= 0.25 * rms(one) if one.size >= 1_024 else moved == 0, name


def test_two_owners_marks_stand_beside_each_other(owned: bytes) -> None:
    """Whoever marks a marked model does not take the first mark away."""
    both = marked(owned, OTHER)
    assert (True, True) == (found(both).present, found(both, OTHER).present)


def test_metadata_and_order_of_a_file_stay(plain: bytes) -> None:
    """The file's header is the same, with what it says besides tensors."""
    raw = save(load(plain), metadata={"made": "here"})
    out = marked(raw, KEY)
    size = 8 + int.from_bytes(raw[:8], "little")
    assert raw[:size] == out[:size]


# What it outlives


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_a_mark_outlives_pruning(owned: bytes, share: float) -> None:
    """The smallest weights are set to nothing, up to four of five."""

    def prune(one: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.abs(one) < np.quantile(np.abs(one), share), np.float32(0), one)

    assert found(changed(owned, prune)).wrong <= 2


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_a_mark_outlives_coarse_numbers(owned: bytes, bits: int) -> None:
    """The weights are rounded to a few levels, as served models' are."""

    def round_off(one: NDArray[Any]) -> NDArray[Any]:
        step = np.abs(one).max() / (2 ** (bits - 1) - 1)
        return (np.rint(one / step) * step).astype(np.float32)

    assert found(changed(owned, round_off)).wrong <= 2


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_a_mark_is_embedded_and_found_in_other_floats(plain: bytes, owned: bytes, kind: type[Any]) -> None:
    """In half and in double precision, whichever the file has before or after."""
    cast = save({name: one.astype(kind) for name, one in load(plain).items()})
    assert found(marked(cast, KEY)).present
    assert 0 == found(save({name: one.astype(kind) for name, one in load(owned).items()})).wrong


def test_a_mark_is_embedded_and_found_in_brain_floats(plain: bytes) -> None:
    """In bfloat16, which numpy does not know."""
    from safetensors.torch import load as tensors
    from safetensors.torch import save as saved

    cast = saved({name: one.to(torch.bfloat16) for name, one in tensors(plain).items()})
    out = marked(cast, KEY)
    assert found(out).present
    assert {torch.bfloat16} == {one.dtype for one in tensors(out).values()}


@pytest.mark.parametrize("loudness", [0.3, 1.0])
def test_a_mark_outlives_learning_as_far_as_noise_is_like_it(owned: bytes, loudness: float) -> None:
    """Every weight is moved by up to as much as it is itself: the model is gone long before the mark."""
    chance = np.random.default_rng(1)

    def shake(one: NDArray[Any]) -> NDArray[Any]:
        return (one + chance.normal(0, loudness * rms(one), one.shape)).astype(np.float32)

    assert found(changed(owned, shake)).wrong <= 4


def test_a_mark_outlives_rescaled_tensors(owned: bytes) -> None:
    """A tensor that is scaled, as a norm's weight can be folded into it, bears its bits as before."""
    assert 0 == found(changed(owned, lambda one: one * np.float32(3))).wrong


def test_a_tensor_that_is_gone_takes_only_its_share(owned: bytes) -> None:
    """Where a quarter of the tensors is missing, the others still show the mark."""
    left = {name: one for name, one in load(owned).items() if "blk.0" not in name}
    assert found(save(left)).present


def test_weights_in_another_order_hide_a_mark(owned: bytes) -> None:
    """The limit that the documentation states: positions are the key's, so whoever reorders neurons hides the mark."""
    chance = np.random.default_rng(1)
    shuffled = changed(owned, lambda one: chance.permutation(one.reshape(-1)).reshape(one.shape))
    assert not found(shuffled).present


# What is refused


@pytest.mark.parametrize("raw", [b"", b"GGUF", b"\0" * 64, b"\xff" * 64, json.dumps({"a": 1}).encode()])
def test_what_is_no_weights_is_refused(raw: bytes) -> None:
    """A file that is no safetensors file is N007, whether it is to be marked or looked at."""
    for ask in (lambda: marked(raw, KEY), lambda: found(raw)):
        with pytest.raises(Refused) as refused:
            ask()
        assert "N007" == refused.value.refusal.code


def test_a_small_model_bears_no_mark() -> None:
    """Below the least number of weights nothing is embedded, and the refusal says how many there are."""
    raw = weights(Network(SMALL, 1))
    with pytest.raises(Refused, match=f"a mark needs {LEAST_WEIGHTS}") as refused:
        marked(raw, KEY)
    assert "N007" == refused.value.refusal.code


def test_weights_that_are_no_numbers_are_refused(plain: bytes) -> None:
    """Infinity or no number at all in one weight: N007 with the tensor's name."""
    for bad in (np.nan, np.inf):
        broken = load(plain)
        broken["token_embd.weight"][3, 3] = bad
        with pytest.raises(Refused, match=r"token_embd\.weight"):
            marked(save(broken), KEY)


@settings(max_examples=60)
@given(st.binary(min_size=0, max_size=200), st.integers(0, 400))
def test_no_broken_file_is_anything_but_refused(noise: bytes, place: int) -> None:
    """Bytes written over a file's header are refused or read; nothing else happens."""
    raw = bytearray(save({"a": np.ones((4, 4), np.float32)}))
    raw[place : place + len(noise)] = noise
    with pytest.raises(Refused) as refused:  # whatever it is, it is too small
        found(bytes(raw))
    assert "N007" == refused.value.refusal.code


# Its key


def test_a_commitment_tells_nothing_of_the_key_and_all_of_its_choice() -> None:
    """The same key has the same commitment, another key another, and the key is not in it."""
    assert "4b94d517f29ac5cf7cd4ce5709156ae4d9236b82228c6e5b44d64b0dcfffa108" == commitment(KEY).digest
    assert commitment(KEY).digest != commitment(OTHER).digest
    assert KEY.hex() not in commitment(KEY).commitment
    assert MARK_BITS == commitment(KEY).bits


def test_a_marks_key_follows_from_the_sealed_one() -> None:
    """It is another secret than the sealed one, and the same each time."""
    sealed = LocalSigner(KEY)
    assert key_of(sealed) == key_of(LocalSigner(KEY)) != sealed.seed()
    assert MARK_MARGIN > 1


# The commands


def test_a_trained_model_is_marked_and_served_as_gguf(tmp_path: Path) -> None:
    """The GGUF file bears the mark of the weights that it was made from, tensor by tensor."""
    network = with_weights(SHAPE, marked(weights(Network(SHAPE, 1)), KEY))
    path = tmp_path / "model.gguf"
    write_gguf(network, TASK, "", path)
    assert Found(256, 0, 2.0**-256, 594_560) == find(gguf_tensors(path), KEY)


def test_marks_are_made_and_checked_at_the_command_line(tmp_path: Path, plain: bytes) -> None:
    """`models mark` writes, `models check-mark` finds; another's key, and unmarked weights, are exit code 7."""
    home = Home.at(tmp_path / "home")
    file, out = tmp_path / "weights.safetensors", tmp_path / "marked.safetensors"
    file.write_bytes(plain)
    [told] = home.held("models", "mark", str(file), "--out", str(out), "--key-name", "ada", "--json").documents
    assert blake3(out.read_bytes()).hexdigest() == told["weights"]
    assert 0o600 == out.stat().st_mode & 0o777
    [seen] = home.held("models", "check-mark", str(out), "--key-name", "ada", "--json").documents
    assert (0, True, told["watermark"]) == (seen["wrong"], seen["present"], seen["watermark"])
    assert Exit.REFUSED == home.run("models", "check-mark", str(file), "--key-name", "ada").code
    other = home.run("models", "check-mark", str(out), "--key-name", "ben")
    assert (Exit.KEY, True) == (other.code, "it holds ada" in other.sentence)
    [[shown]] = home.held("keys", "--json").documents
    assert ("mark.ada", "mark") == (shown["name"], shown["purpose"])
