"""organd when things die: a worker in the middle of an answer, the supervisor itself, whoever asked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import psutil
import pytest

from tests.commands import Home, all_gone, family
from tests.gguf_models import write_gemma
from tests.organds import SAYS, Organd, asked, organd

LONG = "long"
BODY = {"model": SAYS, "prompt": "x", "stream": False, "options": {"num_predict": 3}}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Organd]:
    """An organd with a model that can talk for long."""
    with organd(tmp_path) as running:
        running.models.add(write_gemma(tmp_path / "long.gguf", context=4_000), LONG)
        yield running


@pytest.mark.spec("NIM-16")
def test_a_worker_killed_in_the_middle_is_told_and_replaced(here: Organd) -> None:
    """Who asked it is told by name, who waited for it is answered by a new one, and so is the next."""
    assert 200 == here.post("/api/generate", BODY)[0]
    pid = here.pid()
    os.kill(pid, signal.SIGSTOP)
    answers = list[tuple[int, Any]]()
    asking = [threading.Thread(target=lambda: answers.append(here.post("/api/generate", BODY))) for _ in range(2)]
    for thread in asking:
        thread.start()
    here.wait(lambda: here.supervisor.slots[f"{SAYS}:latest"].life.users == 2)
    os.kill(pid, signal.SIGKILL)
    for thread in asking:
        thread.join()
    assert [200, 500] == sorted(status for status, _ in answers)
    [told] = [answer["error"] for status, answer in answers if status == 500]
    assert "the model's process ended while it was asked" in told
    assert 200 == here.post("/api/generate", BODY)[0]
    assert pid != here.pid()
    assert ["verifying_release", "failed", "loading", "ready"] == [s for s in here.states() if s != "idle"][-5:-1]
    assert "killed by SIGKILL" in next(change.reason for change in here.changes if change.state == "failed")


@pytest.mark.spec("NIM-16")
def test_a_worker_killed_while_idle_is_noticed(here: Organd) -> None:
    """Its place is free at once, and the next request loads the model again."""
    assert 200 == here.post("/api/generate", BODY)[0]
    os.kill(here.pid(), signal.SIGKILL)
    here.settled("failed")
    assert [] == here.supervisor.loaded()
    assert 200 == here.post("/api/generate", BODY)[0]


@pytest.mark.spec("NIM-16")
def test_a_stream_that_breaks_says_so_in_its_last_line(here: Organd) -> None:
    """What was begun is not taken for whole: the official client raises the error."""
    client = ollama.Client(here.rest.url)
    pieces = client.generate(LONG, "x", stream=True, options={"temperature": 0})
    assert not next(pieces).done
    os.kill(here.pid(LONG), signal.SIGKILL)
    with pytest.raises(ollama.ResponseError, match="process"):
        list(pieces)
    assert "load" == client.generate(LONG).done_reason
    client.close()


@pytest.mark.spec("NIM-16")
def test_whoever_hangs_up_stops_the_model(here: Organd) -> None:
    """The worker goes on with the next request; it is the same process, and nobody uses it any more afterwards."""
    client = ollama.Client(here.rest.url)
    assert "load" == client.generate(LONG).done_reason
    pid = here.pid(LONG)
    for _ in range(3):
        pieces = client.generate(LONG, "x", stream=True, options={"temperature": 0})
        assert not next(pieces).done
        pieces.close()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator
    here.settled("idle", LONG)
    assert "length" == client.generate(LONG, "x", options={"num_predict": 3}).done_reason
    assert pid == here.pid(LONG)
    client.close()


@pytest.mark.spec("NIM-16")
def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    """Killed with -9 in the middle of its work, it leaves no process; the next one serves the same home."""
    home = Home.at(tmp_path / "home")
    home.held("models", "add", str(write_gemma(tmp_path / "g.gguf")), SAYS)
    with home.living("models", "serve", "--json") as first:
        url = first.document()["url"]
        assert 200 == asked(f"{url}/api/generate", b'{"model":"tiny"}', "POST")[0]
        workers = family(first.pid)
        assert 1 == len(workers)
        assert 4 == home.run("models", "serve").code
        workers[0].suspend()
        first.stop(signal.SIGKILL)
        assert all_gone(workers)
    with home.living("models", "serve", "--json") as second:
        url = second.document()["url"]
        assert 200 == asked(f"{url}/api/generate", b'{"model":"tiny"}', "POST")[0]
        workers = family(second.pid)
        assert 0 == second.stop(signal.SIGTERM).code
        assert not [worker for worker in workers if psutil.pid_exists(worker.pid)]
