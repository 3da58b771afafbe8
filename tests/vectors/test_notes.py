"""A published signed note judges our reader of notes and keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.log.note import ED25519, BadNote, Note, NoteKey

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"

pytestmark = [
    pytest.mark.spec("X-04"),
    pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the published vectors are not at {VECTORS}"),
]


def example() -> dict[str, str]:
    """The published note and keys."""
    return json.loads((VECTORS / "c2sp-examples" / "signed-note.json").read_bytes())


def test_the_published_note_verifies() -> None:
    """The published note is signed by the published key, and prints back byte for byte."""
    key, note = NoteKey.parse(example()["vkey"]), Note.parse(example()["note"])
    assert ("example.com/foo", ED25519) == (key.name, key.kind)
    assert [key] == note.by([key])
    assert example()["note"] == str(note)
    assert example()["note"].encode() == str(Note.parse(example()["note"].encode())).encode()


def test_the_published_keys_print_back() -> None:
    """Both published verifier keys are read, have the id they state, and print back."""
    for name in ("vkey", "sumdb_vkey"):
        key = NoteKey.parse(example()[name])
        assert example()[name] == str(key)
        assert example()[name].split("+")[1] == key.key_id.hex()


def test_any_other_text_is_refused() -> None:
    """The published note with any one character of its text changed is refused."""
    key, note = NoteKey.parse(example()["vkey"]), Note.parse(example()["note"])
    for at in range(len(note.text) - 1):
        other = note.text[:at] + chr(ord(note.text[at]) ^ 1) + note.text[at + 1 :]
        with pytest.raises(BadNote, match="does not verify"):
            replace(note, text=other).by([key])
