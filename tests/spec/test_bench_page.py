"""`bench --write`: figures as a page that says where they come from."""

from __future__ import annotations

import asyncio
import re
from typing import cast

import pytest

from deploy.bench.areas import AREAS, Told
from deploy.bench.page import page, where
from deploy.commands.bench import measured_apart
from deploy.usage import COMMANDS, Described
from shared.errors import Exit, Fault


@pytest.mark.spec("NIM-07")
def test_a_page_says_what_was_measured_where_and_what_did_not_hold() -> None:
    """A page names command, commit, machine and libraries, holds each table as it is, and says each missed bound."""
    told = {"log": Told({}, "claim  µs\nours   12   ", ()), "attention": Told({}, "tier 0", ["the load"])}
    written = page(AREAS, told, "nimmerverse bench all")
    assert "Written by `nimmerverse bench all`" in written
    assert all(f"| {name} | {value} |" in written for name, value in where().items())
    assert re.search(r"commit [0-9a-f]{12}|commit unknown", written)
    assert "nats-py 2." in written
    assert "\n## log\n" in written
    assert "```\nclaim  µs\nours   12\n```" in written
    assert 1 == written.count("Did not hold: ") == written.count("Did not hold: the load.")


def test_an_area_of_all_is_measured_in_a_process_of_its_own() -> None:
    """What it found comes back as it was told, and what could not be measured says why, with its exit code."""
    told = asyncio.run(measured_apart("dev", "gates", 1))
    assert told.table.startswith("1 waves of 8 sources")
    assert {"way", "per_core_s"} <= set(cast("dict[str, object]", told.figures))
    with pytest.raises(Fault, match="gates could not be measured: it ended without a word") as failed:
        asyncio.run(measured_apart("dev", "gates", -1))
    assert Exit.FAILED == failed.value.exit


def test_every_area_can_be_asked_for() -> None:
    """The areas of the command line are those that can be measured, and all of them."""
    command = COMMANDS["bench"]
    assert isinstance(command, Described)
    [choices] = [option.how["choices"] for option in command.options if option.flags == ("area",)]
    assert ("all", *AREAS) == choices
