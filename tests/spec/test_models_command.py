"""`nimmerverse models`: which models a home holds, and where they may be loaded."""

from __future__ import annotations

import os
from pathlib import Path

import ollama
import pytest

from organs.organd.devices import Cards, Processor, devices_of
from organs.organd.header import NotAModel
from organs.organd.leases import runtime_folder
from organs.organd.ports import NoSuchModel
from organs.organd.registry import Registry
from shared.errors import ConfigFault, StorageFault
from shared.world import RealWorld
from tests.commands import Home
from tests.gguf_models import write_bert, write_gemma


@pytest.mark.spec("NIM-17")
def test_models_are_added_listed_served_and_taken_away(tmp_path: Path) -> None:
    """A file becomes a model of this home under its digest, which clients find; what is no model is refused."""
    home = Home.at(tmp_path / "home")
    assert [{"models": []}] == home.held("models", "list", "--json").documents
    [added] = home.held("models", "add", str(write_gemma(tmp_path / "g.gguf")), "mind:small", "--json").documents
    assert ("mind:small", 64) == (added["model"], len(added["sha256"]))
    (tmp_path / "no.gguf").write_bytes(b"GGUF and no more")
    refused = home.run("models", "add", str(tmp_path / "no.gguf"), "no")
    assert (2, True) == (refused.code, "GGUF version" in refused.sentence)
    assert 5 == home.run("models", "ps").code
    with home.living("models", "serve", "--json") as serving:
        client = ollama.Client(serving.document()["url"])
        assert ["mind:small"] == [model.model for model in client.list().models]
        assert "load" == client.generate("mind:small", keep_alive=-1).done_reason
        [told] = home.held("models", "ps", "--json").documents
        [running] = told["models"]
        assert ("mind:small", True) == (running["name"], running["expires_at"].startswith("2300"))
        client.close()
    [listed] = home.held("models", "list", "--json").documents
    assert ["mind:small"] == [row["model"] for row in listed["models"]]
    home.held("models", "rm", "mind:small")
    assert 3 == home.run("models", "rm", "mind:small").code


@pytest.mark.spec("NIM-17")
def test_a_model_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """What is refused changes nothing; a new file under an old name takes its place with its own digest."""
    registry = Registry(tmp_path / "models", RealWorld("dev"))
    first = registry.add(write_gemma(tmp_path / "a.gguf"), "m")
    (tmp_path / "broken.gguf").write_bytes((tmp_path / "a.gguf").read_bytes()[:100])
    with pytest.raises(NotAModel, match="ends in its header"):
        registry.add(tmp_path / "broken.gguf", "m")
    with pytest.raises(StorageFault):
        registry.add(tmp_path / "nowhere.gguf", "m")
    second = registry.add(write_bert(tmp_path / "b.gguf"), "m")
    assert (False, True) == (first.facts.embeds, second.facts.embeds)
    assert first.digest != second.digest
    assert ["m:latest"] == registry.names()
    assert {"latest.gguf", "latest.json"} == {path.name for path in (tmp_path / "models" / "m").iterdir()}
    assert 0o600 == (tmp_path / "models" / "m" / "latest.gguf").stat().st_mode & 0o777
    registry.remove("m")
    assert [] == list((tmp_path / "models").iterdir())
    with pytest.raises(NoSuchModel):
        registry.remove("m")


@pytest.mark.spec("NIM-16")
def test_a_card_that_was_asked_for_and_is_not_there_is_an_error() -> None:
    """Where NVML finds none, `auto` is the processor, and `gpu` is refused: nothing falls back silently."""
    assert isinstance(devices_of("cpu"), Processor)
    found = devices_of("auto")
    if isinstance(found, Cards):
        assert devices_of("gpu").all() == found.all()
        return
    assert [("cpu", "cpu")] == [(device.id, device.kind) for device in found.all()]
    assert 0 < found.free_bytes(found.all()[0]) <= found.all()[0].total_bytes
    with pytest.raises(ConfigFault, match="models_device is gpu"):
        devices_of("gpu")


@pytest.mark.spec("NIM-16")
def test_the_runtime_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is private, short enough for a socket's path, and never one that others may enter."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert tmp_path / "nimmerverse" == runtime_folder()
    assert 0o700 == runtime_folder().stat().st_mode & 0o777
    (tmp_path / "nimmerverse" / "x").touch()
    runtime_folder().chmod(0o755)
    with pytest.raises(ConfigFault, match="mode 755"):
        runtime_folder()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert f"nimmerverse-{os.getuid()}" == runtime_folder().name
