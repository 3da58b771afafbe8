"""What the steward made on a real server: a log nobody may rewrite, and every change of the ground in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from deploy.attach import living
from deploy.host import EmbeddedHost
from shared.bus import Bus
from shared.codec import decode
from shared.config import load
from shared.message import lookup
from shared.part import declaration
from shared.subjects.system import PartGranted, Started, StreamsChanged
from shared.world import RealWorld


@pytest.mark.spec("X-04", "X-09", "COL-17")
def test_the_log_keeps_everything_and_says_what_was_made(tmp_path: Path) -> None:
    """The log denies deletion, purge and roll-up, syncs every write, and holds each grant, stream and start."""

    async def main() -> None:
        loaded = load({"NIMMERVERSE_HOME": str(tmp_path / "home")}, {}, "here")
        async with living(loaded) as (host, organism):
            assert isinstance(host, EmbeddedHost)
            bus = Bus(RealWorld("dev"), await host.wire("operator"), "operator", "1", [])
            said: dict[type, list[str]] = {PartGranted: [], StreamsChanged: [], Started: []}
            async for verdict in bus.replay(organism.fingerprint):
                cls = lookup(verdict.entry.subject)
                for _, event in verdict.admitted():
                    if cls is PartGranted:
                        said[cls].append(decode(PartGranted, bytes(event.data)).part)
                    elif cls is StreamsChanged:
                        said[cls].append(decode(StreamsChanged, bytes(event.data)).stream_name)
                    elif cls is Started:
                        said[cls].append(decode(Started, bytes(event.data)).boot)
            await bus.drain()
            parts = sorted(name for name in organism.runners if name != "steward")
            assert parts == sorted(said[PartGranted])
            declared = [declaration(runner.part) for runner in organism.runners.values()]
            brief = {f"TRANSITIONS_dev_{each.name}" for each in declared if each.transitions("dev")}
            assert {"TRANSITIONS_dev_gate", "TRANSITIONS_dev_thalamus"} <= brief
            traced = {f"TRACES_dev_{each.name}" for each in declared if each.traces("dev")}
            assert {"TRACES_dev_gate", "TRACES_dev_math_cell"} <= traced
            kept = {"DEAD_dev", "KV_leases_dev", "LOG_dev", "OUTCOMES_dev", *traced}
            assert kept | brief == set(said[StreamsChanged])
            assert len(said[Started]) == 1
            steward = organism.runners["steward"].bus.wire
            info = json.loads((await steward.request("$JS.API.STREAM.INFO.LOG_dev", b"", None, 5)).data)["config"]
            assert info["deny_delete"]
            assert info["deny_purge"]
            assert not info.get("allow_rollup_hdrs")
            assert "republish" not in info
            assert info["max_age"] == 0

    asyncio.run(main())
