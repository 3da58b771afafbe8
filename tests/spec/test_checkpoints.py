"""The checkpoint guardian: safetensors alone, whole or not at all, and verified before they are read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from shared.checkpoints import check, discard, keep, load, note_of
from shared.errors import Refused, StorageFault

GOOD = save({"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array([7])}, {"about": "a test"})
TOUCHED: list[str] = []


class Planted:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Leave a trace when it is loaded."""
        return TOUCHED.append, ("loaded",)


@pytest.mark.spec("COL-08")
def test_a_checkpoint_lies_under_its_digest_and_is_read_as_it_was(tmp_path: Path) -> None:
    """What is kept is found again byte for byte, private to its owner, under the BLAKE3 of its bytes."""
    digest, path = keep(tmp_path / "own", GOOD)
    assert (blake3(GOOD).hexdigest(), GOOD) == (digest, load(path, digest))
    assert (0o600, f"{digest}.safetensors") == (path.stat().st_mode & 0o777, path.name)
    assert "a test" == note_of(GOOD, "about")
    with pytest.raises(Refused, match="T009"):
        note_of(GOOD, "other")


@pytest.mark.spec("COL-08")
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path, protocol: int) -> None:
    """Whatever pickle is offered is refused T009, and what it would do is not done."""
    raw = pickle.dumps(Planted(), protocol)
    with pytest.raises(Refused, match="T009"):
        keep(tmp_path, raw)
    (tmp_path / "offered").write_bytes(raw)
    with pytest.raises(Refused, match="T009"):
        load(tmp_path / "offered", blake3(raw).hexdigest())
    assert [] == TOUCHED


@pytest.mark.spec("COL-08")
def test_a_header_of_any_length_is_a_checkpoints_own() -> None:
    """A safetensors file begins with its header's length; one of 640 bytes begins as a pickle does, and is none."""
    beginnings = set[bytes]()
    for length in range(400, 700):
        raw = save({"weight": np.zeros(1)}, {"about": "x" * length})
        check(raw)
        beginnings.add(raw[:2])
    assert b"\x80\x02" in beginnings


@pytest.mark.spec("COL-08")
def test_what_torch_saves_is_named_as_what_it_is(tmp_path: Path) -> None:
    """A zip archive with a pickle inside, as torch.save writes it, is refused by that name."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(Refused, match=r"T009.*zip archive"):
        check((tmp_path / "model.pt").read_bytes())


@pytest.mark.spec("COL-08")
@pytest.mark.parametrize("magic", [b"GGUF", b"\x89HDF\r\n", b"\x93NUMPY\x01", b"\x1f\x8b\x08", b"PK\x05\x06", b""])
def test_other_formats_are_refused(magic: bytes) -> None:
    """A GGUF, HDF5, NumPy or gzip file, an empty archive and nothing at all are no checkpoints."""
    with pytest.raises(Refused, match="T009"):
        check(magic + bytes(16) if magic else b"")


@pytest.mark.spec("COL-08")
@settings(report_multiple_bugs=False)
@given(place=st.integers(0, len(GOOD) * 8 - 1))
def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    """Any single bit that flips on disk is found before anything is read from the file."""
    folder = tmp_path_factory.mktemp("flipped")
    digest, path = keep(folder, GOOD)
    raw = bytearray(path.read_bytes())
    raw[place // 8] ^= 1 << place % 8
    path.write_bytes(raw)
    with pytest.raises(Refused, match=r"T009.*BLAKE3"):
        load(path, digest)


@pytest.mark.spec("COL-08")
@given(raw=st.one_of(st.binary(max_size=200), st.integers(0, len(GOOD) - 1).map(lambda size: GOOD[:size])))
def test_no_bytes_but_a_whole_safetensors_file_pass(raw: bytes) -> None:
    """Garbage and every file that is cut short are refused T009, and nothing else is raised."""
    with pytest.raises(Refused, match="T009"):
        check(raw)


@pytest.mark.spec("COL-08")
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(dtype: type[np.floating[Any]], odd: float) -> None:
    """A checkpoint with NaN or infinity in any tensor is a training that diverged."""
    with pytest.raises(Refused, match=r"T009.*diverged"):
        check(save({"good": np.zeros(3, dtype), "weight": np.array([0, odd], dtype)}))


@pytest.mark.spec("COL-08")
def test_bfloat16_is_looked_into_and_unknown_types_are_not_trusted() -> None:
    """A bfloat16 that is no number is found; a type that nobody here looks into is refused."""
    from safetensors.torch import save as torch_save

    check(torch_save({"weight": torch.tensor([1.0, -2.0], dtype=torch.bfloat16)}))
    with pytest.raises(Refused, match=r"T009.*diverged"):
        check(torch_save({"weight": torch.tensor([1.0, torch.inf], dtype=torch.bfloat16)}))
    with pytest.raises(Refused, match=r"T009.*looks into"):
        check(torch_save({"weight": torch.tensor([1.0]).to(torch.float8_e4m3fn)}))


@pytest.mark.spec("COL-08")
def test_what_is_not_there_is_refused_and_a_digest_is_never_a_path(tmp_path: Path) -> None:
    """A missing file is S002; a digest that is none, for instance a path, is S001."""
    with pytest.raises(Refused, match="S002"):
        load(tmp_path / "nothing", "0" * 64)
    with pytest.raises(Refused, match="S001"):
        load(tmp_path / "nothing", "../../secret")


@pytest.mark.spec("COL-08")
def test_only_the_last_checkpoint_is_left(tmp_path: Path) -> None:
    """Discarding leaves the one that was agreed on last."""
    keep(tmp_path, GOOD)
    digest, path = keep(tmp_path, save({"weight": np.zeros(1)}))
    discard(tmp_path, digest)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.spec("COL-08")
def test_a_full_disk_leaves_no_half_checkpoint() -> None:
    """Where nothing can be written there is a fault, and no checkpoint."""
    with pytest.raises(StorageFault):
        keep(Path("/proc/nimmerverse"), GOOD)
