"""Configuration: typed, read once at the edge, every value with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import Loaded, load, redact, render_config_md
from shared.errors import ConfigFault, Exit
from shared.settings import Settings

pytestmark = pytest.mark.spec("COL-17")


def read(home: Path, environ: Mapping[str, str] | None = None, /, **overrides: str) -> Loaded:
    """Load with this home folder in the environment."""
    return load({"NIMMERVERSE_HOME": str(home), **(environ or {})}, overrides, "ground")


def refusal(home: Path, environ: Mapping[str, str] | None = None, /, **overrides: str) -> str:
    """The sentence with which loading is refused."""
    with pytest.raises(ConfigFault) as caught:
        read(home, environ, **overrides)
    assert Exit.CONFIG == caught.value.exit
    return str(caught.value)


def test_defaults() -> None:
    """With nothing set, every setting has its default and says so."""
    loaded = load({"HOME": "/people/iris"}, {}, "ground")
    settings = loaded.settings
    assert Path("/people/iris/.local/share/nimmerverse") == loaded.settings.home
    assert ("dev", 1000, 2048, None) == (settings.env, settings.beat_ms, settings.disk_quota_mb, settings.nats_url)
    assert {"default"} == set(loaded.origin.values())
    assert Path("/people/iris/.local/share/nimmerverse/passphrase") == loaded.settings.passphrase_path


def test_data_folder_of_the_desktop() -> None:
    """An absolute XDG_DATA_HOME holds the default home folder; a relative one is ignored, as XDG asks."""
    absolute = load({"HOME": "/h", "XDG_DATA_HOME": "/data"}, {}, "g").settings.home
    relative = load({"HOME": "/h", "XDG_DATA_HOME": "data"}, {}, "g").settings.home
    assert (Path("/data/nimmerverse"), Path("/h/.local/share/nimmerverse")) == (absolute, relative)


def test_each_source_is_stronger_than_the_one_before(tmp_path: Path) -> None:
    """Default, file, environment, command line: the later one wins, and the origin names it."""
    (tmp_path / "config.toml").write_text('env = "staging"\nbeat_ms = 20\nlog_level = "debug"\n')
    loaded = read(tmp_path, {"NIMMERVERSE_ENV": "prod", "NIMMERVERSE_BEAT_MS": "30"}, env="lab")
    settings, origin = loaded.settings, loaded.origin
    assert ("lab", "command line") == (settings.env, origin["env"])
    assert (30, "environment NIMMERVERSE_BEAT_MS") == (settings.beat_ms, origin["beat_ms"])
    assert ("debug", f"file {tmp_path / 'config.toml'}") == (settings.log_level, origin["log_level"])
    assert (2048, "default") == (settings.disk_quota_mb, origin["disk_quota_mb"])


@pytest.mark.spec("X-10")
@pytest.mark.parametrize("env", ["dev", "staging", "prod", "lab-7"])
def test_only_the_environment_changes(tmp_path: Path, env: str) -> None:
    """The same code serves any environment: one setting names it and nothing else differs."""
    default, other = read(tmp_path), read(tmp_path, {"NIMMERVERSE_ENV": env})
    assert default.settings.model_copy(update={"env": env}) == other.settings


def test_empty_value_resets(tmp_path: Path) -> None:
    """An empty value takes a setting back to its default."""
    (tmp_path / "config.toml").write_text('nats_url = "nats://bus:4222"\n')
    assert "nats://bus:4222" == read(tmp_path).settings.nats_url
    assert read(tmp_path, {"NIMMERVERSE_NATS_URL": ""}).settings.nats_url is None


def test_paths(tmp_path: Path) -> None:
    """A path in the file counts from the home folder, elsewhere from the working folder; ~ is the user's home."""
    (tmp_path / "config.toml").write_text('passphrase_file = "secret"\n')
    assert tmp_path / "secret" == read(tmp_path).settings.passphrase_path
    assert Path.cwd() / "here" == read(tmp_path, passphrase_file="here").settings.passphrase_file
    assert Path("/h/there") == read(tmp_path, {"HOME": "/h"}, passphrase_file="~/there").settings.passphrase_file


def test_no_color(tmp_path: Path) -> None:
    """NO_COLOR turns colour off unless the user's own setting says otherwise."""
    loaded = read(tmp_path, {"NO_COLOR": "1"})
    assert ("never", "environment NO_COLOR") == (loaded.settings.color, loaded.origin["color"])
    assert "always" == read(tmp_path, {"NO_COLOR": "1"}, color="always").settings.color
    assert "auto" == read(tmp_path, {"NO_COLOR": ""}).settings.color


@pytest.mark.spec("BIZ-14")
def test_credential(tmp_path: Path) -> None:
    """A passphrase handed over by systemd is found by itself; other credentials are none of ours."""
    credential = tmp_path / "nimmerverse-passphrase"
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read(tmp_path, environ).settings.passphrase_credential is None
    credential.write_text("secret")
    loaded = read(tmp_path, environ)
    assert credential == loaded.settings.passphrase_credential
    assert "environment CREDENTIALS_DIRECTORY" == loaded.origin["passphrase_credential"]


@pytest.mark.parametrize(
    ("key", "near"),
    [("NIMMERVERSE_NATS_ULR", "NIMMERVERSE_NATS_URL"), ("NIMMERVERSE_nats_url", "NIMMERVERSE_NATS_URL")],
)
def test_unknown_variable(tmp_path: Path, key: str, near: str) -> None:
    """An unknown variable of ours is refused with the nearest known one."""
    assert f"unknown setting '{key}' (environment): did you mean {near}?" == refusal(tmp_path, {key: "x"})


def test_unknown_everywhere(tmp_path: Path) -> None:
    """An unknown setting is refused on the command line and in the file as well."""
    assert "unknown setting 'beat' (command line): did you mean beat_ms?" == refusal(tmp_path, beat="5")
    (tmp_path / "config.toml").write_text("[nats]\nport = 1\n")
    assert refusal(tmp_path).startswith(f"unknown setting 'nats' (file {tmp_path / 'config.toml'}): did you mean nats_")
    (tmp_path / "config.toml").write_text("xyzzy = 1\n")
    assert "known settings are home, env," in refusal(tmp_path)


def test_other_variables_are_not_ours() -> None:
    """Variables without our prefix are never judged."""
    assert "dev" == load({"HOME": "/h", "NIMMER": "x", "PATH": "/bin"}, {}, "g").settings.env


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("env", "Prod", "one token"),
        ("env", "a.b", "one token"),
        ("env", "prod\n", "one token"),
        ("beat_ms", "9", "from 10 to 3600000"),
        ("beat_ms", "1e3", "from 10 to 3600000"),
        ("nats_port", "65536", "from 1 to 65535"),
        ("nats_url", "http://bus", "nats://HOST:PORT"),
        ("nats_url", "nats://bus:x", "nats://HOST:PORT"),
        ("nats_url", "nats://bus,bus2", "nats://HOST:PORT"),
        ("database_url", "host=db", "postgresql://"),
        ("database_url", "postgresql:///db", "postgresql://"),
        ("log_level", "loud", "debug, info, warning or error"),
        ("color", "blue", "auto, always or never"),
        ("site", "x" * 254, "1 to 253 characters"),
        ("passphrase_file", "a\0b", "a path without control characters"),
        ("home", "~/x", "HOME to be set"),
    ],
)
def test_invalid_value(tmp_path: Path, name: str, value: str, expected: str) -> None:
    """An invalid value is refused with its origin, what was found and what was expected."""
    sentence = refusal(tmp_path, **{name: value})
    assert f"{name} is {value!r} (command line); expected " in sentence
    assert expected in sentence


def test_invalid_type_in_the_file(tmp_path: Path) -> None:
    """A boolean, fraction or table in the file is refused instead of being read as a number."""
    for value in ("true", "1.5", "[4222]"):
        (tmp_path / "config.toml").write_text(f"nats_port = {value}\n")
        assert "expected a string or a whole number" in refusal(tmp_path)


def test_home_is_no_folder(tmp_path: Path) -> None:
    """A home that is a file is refused, naming where it was set."""
    file = tmp_path / "file"
    file.touch()
    assert refusal(file).startswith(f"home is '{file}' (environment NIMMERVERSE_HOME); expected a folder")


@pytest.mark.parametrize("content", [b"env = ", b"\xff\xfe", b"env = 'a'\nenv = 'b'\n"])
def test_broken_file(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is refused by its path."""
    (tmp_path / "config.toml").write_bytes(content)
    assert refusal(tmp_path).startswith(f"{tmp_path / 'config.toml'} is not valid TOML (")


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that cannot be read is refused by its path."""
    (tmp_path / "config.toml").mkdir()
    assert f"{tmp_path / 'config.toml'} cannot be read (Is a directory)" in refusal(tmp_path)


def test_home_in_its_own_file(tmp_path: Path) -> None:
    """The file lies in the home folder, so it cannot move it."""
    (tmp_path / "config.toml").write_text('home = "/elsewhere"\n')
    assert refusal(tmp_path).endswith("set NIMMERVERSE_HOME instead.")


def test_contradictions(tmp_path: Path) -> None:
    """Settings that exclude each other are refused together, each with its origin."""
    url = {"NIMMERVERSE_NATS_URL": "nats://bus"}
    assert "nats_creds (command line) and nats_nkey (command line)" in refusal(
        tmp_path, url, nats_creds="a", nats_nkey="b"
    )
    assert "nats_url (environment NIMMERVERSE_NATS_URL)" in refusal(tmp_path, url, nats_port="4222")
    assert "has no server to log in to" in refusal(tmp_path, nats_creds="a")
    assert "the embedded one is alone: set nats_url" in refusal(tmp_path, nats_replicas="3")


def test_effective_values_hide_secrets(tmp_path: Path) -> None:
    """Every effective value can be printed with origin and meaning, and no password is in it or in the model's repr."""
    loaded = read(tmp_path, nats_url="nats://me:hush@bus:4222", database_url="postgres://u:hush@db/x?password=hush")
    rows = {row.name: row for row in loaded.effective()}
    assert list(Settings.model_fields) == list(rows)
    assert ("nats://***@bus:4222", "command line") == rows["nats_url"][1:3]
    assert "postgres://***@db/x?password=***" == rows["database_url"].value
    assert all(row.description for row in rows.values())
    assert "hush" not in f"{rows} {loaded}"


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["", "nats://", "postgres://", "x://"]))
def test_no_fault_tells_a_secret(user: str, password: str, scheme: str) -> None:
    """Whatever the shape of an address, what stands before its last @ is never shown."""
    assert redact(f"{scheme}{user}hush{password}@host").endswith("***@host")
    assert "hush" not in redact(f"{scheme}{user}hush{password}@host")


@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), st.text(max_size=20)))
def test_any_text_is_a_value_or_a_fault(overrides: dict[str, str]) -> None:
    """Any text in any setting either loads or is a ConfigFault, never another exception."""
    try:
        loaded = load({"HOME": "/nowhere"}, overrides, "ground")
    except ConfigFault:
        return
    assert set(Settings.model_fields) == set(loaded.origin)


def test_addresses(tmp_path: Path) -> None:
    """Several NATS servers and a PostgreSQL behind a Unix socket are addresses too."""
    servers, socket = "nats://a:4222,tls://b", "postgresql:///db?host=/run/postgresql"
    settings = read(tmp_path, nats_url=servers, database_url=socket).settings
    assert (servers, socket) == (settings.nats_url, settings.database_url)


def test_copies(tmp_path: Path) -> None:
    """A cluster keeps one, three or five copies: an even number bears no more losses than the one below it."""
    servers = {"NIMMERVERSE_NATS_URL": "nats://a,nats://b,nats://c"}
    assert [1, 3, 5] == [read(tmp_path, servers, nats_replicas=n).settings.nats_replicas for n in "135"]
    for none in ("0", "2", "7", "three"):
        assert "nats_replicas is " in refusal(tmp_path, servers, nats_replicas=none)
        assert "expected 1, 3 or 5" in refusal(tmp_path, servers, nats_replicas=none)


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Nobody changes a setting after start."""
    with pytest.raises(ValueError, match="frozen"):
        read(tmp_path).settings.env = "prod"  # pyright: ignore[reportAttributeAccessIssue] - the refusal is the point


def test_reference_names_every_setting() -> None:
    """The generated reference has one row per setting."""
    rows = [line for line in render_config_md().splitlines() if line.startswith("| `")]
    assert [f"| `{name}` | `NIMMERVERSE_{name.upper()}` |" for name in Settings.model_fields] == [
        row[: row.index("|", row.index("NIMMER")) + 1] for row in rows
    ]
