"""Configuration, read once at the edge into one frozen model.

Four sources, each stronger than the one before: the default, `config.toml` in the home folder, the environment
(`NIMMERVERSE_` and the setting's name in capitals), the command line (`name=value`). `NO_COLOR` and systemd's
`CREDENTIALS_DIRECTORY` replace the default of the one setting they concern. An empty value resets a setting to its
default. Whatever is unknown, invalid or contradictory is a ConfigFault that names where it stood.

Long because every setting stands here once, with its type, its default and what it is for.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConfigFault

PREFIX = "NIMMERVERSE_"
FILE_NAME = "config.toml"
CREDENTIAL_NAME = "nimmerverse-passphrase"


@dataclass(frozen=True)
class Expected:
    """What a valid value looks like, in words: error sentences and the reference both quote it."""

    words: str


def _url(*schemes: str, socket: bool = False) -> AfterValidator:
    def check(value: str) -> str:
        for address in value.split(","):
            parts = urlsplit(address)
            host = parts.hostname or (socket and "host=" in parts.query)
            if parts.scheme not in schemes or not host or parts.port == 0 or " " in address:
                raise ValueError("not such an address")
        return value

    return AfterValidator(check)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("no such zone here") from error
    return name


Token = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=63),
    Expected("one token: a lower-case letter, then at most 62 lower-case letters, digits, `_` or `-`"),
]
Port = Annotated[Annotated[int, Field(ge=1, le=65_535)] | None, Expected("a whole number from 1 to 65535")]
AnyPort = Annotated[
    Annotated[int, Field(ge=0, le=65_535)] | None, Expected("a whole number from 0 (a free port) to 65535")
]
Beat = Annotated[int, Field(ge=10, le=3_600_000), Expected("a whole number from 10 to 3600000")]
Quota = Annotated[int, Field(ge=64, le=1_000_000_000), Expected("a whole number from 64 to 1000000000")]
Name = Annotated[str, Field(min_length=1, max_length=253), Expected("1 to 253 characters")]
Folder = Annotated[Path, Expected("the path of a folder")]
File = Annotated[Path | None, Expected("the path of a file")]
NatsUrl = Annotated[
    Annotated[str, _url("nats", "tls", "ws", "wss")] | None,
    Expected("nats://HOST:PORT (or tls://, ws://, wss://), several separated by commas"),
]
DatabaseUrl = Annotated[
    Annotated[str, _url("postgresql", "postgres", socket=True)] | None, Expected("postgresql://USER@HOST:PORT/DATABASE")
]
CalendarUrls = Annotated[
    Annotated[str, _url("https", "http")] | None, Expected("https://HOST[/PATH], several separated by commas")
]
AuthorityUrl = Annotated[Annotated[str, _url("https", "http")] | None, Expected("https://HOST[/PATH]")]
AnchorState = Annotated[
    Literal["none", "pending_local", "pending", "bitcoin_unchecked", "verified"] | None,
    Expected("none, pending_local, pending, bitcoin_unchecked or verified"),
]
Interval = Annotated[int, Field(ge=1, le=604_800), Expected("a whole number from 1 to 604800")]
ArtifactUrl = Annotated[
    Annotated[str, _url("s3+https", "s3+http")] | None, Expected("s3+https://HOST:PORT/BUCKET, with /PREFIX or without")
]
Region = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=63), Expected("a region such as us-east-1")]
KeyNames = Annotated[
    Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}(,[a-z0-9][a-z0-9_.-]{0,62})*$")] | None,
    Expected("names of keys, separated by commas without spaces"),
]
TokenLabel = Annotated[
    Annotated[str, Field(min_length=1, max_length=32)] | None, Expected("a token's label, 1 to 32 characters")
]
HttpUrls = Annotated[
    Annotated[str, _url("http", "https")] | None,
    Expected("http://HOST:PORT or https://HOST, several separated by commas"),
]
ModelServer = Annotated[Annotated[str, _url("http", "https")] | None, Expected("http://HOST:PORT or https://HOST")]
DeviceWanted = Annotated[Literal["auto", "cpu", "gpu"], Expected("auto, cpu or gpu")]
LanguageUrl = Annotated[
    Annotated[str, _url("ollama+http", "ollama+https", "openai+http", "openai+https")] | None,
    Expected("ollama+http://HOST:PORT, or openai+https://HOST/v1 for any OpenAI-compatible server"),
]
ModelName = Annotated[
    Annotated[str, Field(min_length=1, max_length=253)] | None, Expected("a model's name, 1 to 253 characters")
]
VisionUrl = Annotated[
    Annotated[str, _url("ollama+http", "ollama+https")] | None,
    Expected("ollama+http://HOST:PORT or ollama+https://HOST"),
]
Digest = Annotated[
    Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None,
    Expected("a BLAKE3 digest, 64 lower-case hexadecimal digits"),
]
NoteKeys = Annotated[str | None, Expected("verifier keys separated by commas, or the path of a file with one a line")]
SecondSignature = Annotated[Literal["none", "ml-dsa-44"], Expected("none or ml-dsa-44")]
MeterWanted = Annotated[Literal["none", "declared", "file", "csv"] | None, Expected("none, declared, file or csv")]
Zone = Annotated[
    Annotated[str, AfterValidator(_zone)] | None,
    Expected("a zone of this machine's tz database, such as Europe/Berlin"),
]
DayTime = r"([01]\d|2[0-3]):[0-5]\d"
HoursOfDay = Annotated[
    str, Field(pattern=f"^{DayTime}-{DayTime}$"), Expected("HH:MM-HH:MM, the second not in it any more")
]
Kilowatts = Annotated[int, Field(ge=0, le=1_000_000_000), Expected("a whole number from 0 to 1000000000")]
Permit = Annotated[
    Annotated[int, Field(ge=0, le=1_000_000_000)] | None, Expected("a whole number from 0 to 1000000000")
]
Level = Annotated[Literal["debug", "info", "warning", "error"], Expected("debug, info, warning or error")]
Color = Annotated[Literal["auto", "always", "never"], Expected("auto, always or never")]


class Settings(BaseModel):
    """Every setting of the product; nothing else is read from outside."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Folder = Field(description="Folder that holds everything this installation stores.")
    env: Token = Field("dev", description="Environment: dev, staging, prod or any other; first token of every subject.")
    nats_url: NatsUrl = Field(None, repr=False, description="NATS server to use; empty starts an embedded one.")
    nats_creds: File = Field(None, description="NATS credentials file for the server at nats_url.")
    nats_nkey: File = Field(None, description="NATS nkey seed file for the server at nats_url.")
    nats_port: Port = Field(None, description="Port of the embedded NATS server; empty chooses a free one.")
    database_url: DatabaseUrl = Field(
        None, repr=False, description="PostgreSQL database to use; empty starts an embedded one."
    )
    artifact_url: ArtifactUrl = Field(
        None, description="S3-compatible bucket for artifacts; empty keeps them in a folder in home."
    )
    artifact_credentials: File = Field(None, description="File with ACCESS_KEY:SECRET for artifact_url, mode 0600.")
    artifact_region: Region = Field("us-east-1", description="Region that requests to artifact_url are signed for.")
    passphrase_file: File = Field(
        None, description="File with the keyring's passphrase; empty is `passphrase` in home. Generated when absent."
    )
    passphrase_credential: File = Field(
        None, description="Passphrase handed over by systemd or a container secret; where given, no other file is read."
    )
    root_keys: File = Field(
        None,
        description="File with the owners' public root keys and the threshold; empty: this host is the root.",
    )
    pkcs11_module: File = Field(
        None, description="Library of a PKCS#11 token (needs the extra `hsm`); see pkcs11_keys."
    )
    pkcs11_token: TokenLabel = Field(None, description="Label of the token at pkcs11_module.")
    pkcs11_pin_file: File = Field(None, description="File with the user PIN of the token, readable by this user alone.")
    pkcs11_keys: KeyNames = Field(
        None, description="Keys that live on the token, for instance `root,notary`; every other one is in the keyring."
    )
    signing_keys: File = Field(
        None, description="TOML file of the parts whose keys a signing proxy holds: NAME = public key, 64 hex digits."
    )
    signing_rules: File = Field(
        None, description="TOML file of the signing proxy: what it signs for whom, a table `callers.NAME` each."
    )
    site: Name = Field(description="Name of this machine as an entity.")
    beat_ms: Beat = Field(1000, description="Sensing tick in milliseconds.")
    log_level: Level = Field("info", description="Least severe log line that is written.")
    metrics_port: AnyPort = Field(
        None, description="Port on 127.0.0.1 that serves Prometheus metrics; empty serves none."
    )
    second_signature: SecondSignature = Field(
        "none", description="Second signature on checkpoints, against forgers of another age; needs the extra `pq`."
    )
    witness_urls: HttpUrls = Field(
        None, repr=False, description="Witnesses that the notary asks to cosign each checkpoint; empty asks none."
    )
    witnesses: NoteKeys = Field(None, description="Verifier keys of those witnesses; lines by others are left out.")
    witness_logs: NoteKeys = Field(None, description="Verifier keys of the logs that a witness on this home cosigns.")
    witness_port: AnyPort = Field(
        None, description="Port on 127.0.0.1 where the witness organ answers; empty chooses a free one."
    )
    models_port: AnyPort = Field(
        None, description="Port on 127.0.0.1 where organd answers as Ollama does; empty chooses a free one."
    )
    models_upstream: ModelServer = Field(
        None, repr=False, description="Ollama server that is asked for models this home does not hold; empty asks none."
    )
    models_device: DeviceWanted = Field(
        "auto",
        description="Where models are loaded: on cards where there are any, else on the processor; or one of them.",
    )
    disk_quota_mb: Quota = Field(2048, description="Most that the embedded JetStream store may hold, in megabytes.")
    anchor_calendars: CalendarUrls = Field(
        None, description="OpenTimestamps calendars to anchor with; empty asks nobody outside."
    )
    anchor_tsa_url: AuthorityUrl = Field(
        None, description="RFC 3161 time-stamp authority; empty uses one of this installation, which is no evidence."
    )
    anchor_tsa_ca: File = Field(None, description="PEM file with the certificates that anchor_tsa_url is trusted by.")
    anchor_headers: File = Field(
        None, description="File of lines `HEIGHT HEADER` with Bitcoin block headers, against which proofs are checked."
    )
    anchor_interval_s: Interval = Field(
        3600, description="Seconds between two anchored checkpoints, and between two looks after pending proofs."
    )
    anchor_minimum: AnchorState = Field(
        None, description="Least anchor state that is accepted; empty is none in dev and pending elsewhere."
    )
    meaning_catalogue: File = Field(
        None, description="Catalogue of regions of meaning, as `meaning learn` writes it; empty is the product's own."
    )
    language_url: LanguageUrl = Field(
        None, repr=False, description="Server of the language model that cognition speaks with; empty quotes memory."
    )
    language_model: ModelName = Field(None, description="Name of the model at language_url.")
    language_key: File = Field(None, description="File with the API key for language_url, mode 0600.")
    vision_detector: Digest = Field(
        None, description="ONNX detector that the eyes see with, put here by `eyes install`; needs the extra `eyes`."
    )
    vision_url: VisionUrl = Field(
        None, repr=False, description="Server of a vision model that the eyes see with, instead of a detector."
    )
    vision_model: ModelName = Field(None, description="Name of the model at vision_url.")
    voice_url: ModelServer = Field(
        None,
        repr=False,
        description="OpenAI-compatible server that speaks, to /v1; empty: espeak-ng (extra `voice`).",
    )
    voice_model: ModelName = Field(None, description="Name of the model at voice_url.")
    voice_key: File = Field(None, description="File with the API key for voice_url, mode 0600.")
    ears_url: ModelServer = Field(
        None,
        repr=False,
        description="OpenAI-compatible server that transcribes, to /v1; empty: pocketsphinx (extra `ears`).",
    )
    ears_model: ModelName = Field(None, description="Name of the model at ears_url.")
    ears_key: File = Field(None, description="File with the API key for ears_url, mode 0600.")
    ears_commands: File = Field(
        None, description="File with the sentences that pocketsphinx may hear, one a line; empty is the built-in list."
    )
    energy_meter: MeterWanted = Field(
        None,
        description="How the site's power is known: a `file` that a meter's program writes, a `csv` that is played, or "
        "`declared` by energy_declared_kw; empty is declared in dev and none elsewhere.",
    )
    energy_meter_file: File = Field(None, description="The file that energy_meter reads.")
    energy_declared_kw: Kilowatts = Field(1, description="What the site draws in kilowatts, where nothing measures it.")
    energy_nox_permit_mg_h: Permit = Field(
        None, description="NOx in mg/h that the permit of the site's turbines allows; empty where it has none."
    )
    energy_zone: Zone = Field(None, description="Time zone of the site, by which its day is counted; empty is UTC.")
    energy_off_peak: HoursOfDay = Field(
        "02:00-06:00", description="Hours of the site's day in which heavy training is preferred; may cross midnight."
    )
    color: Color = Field("auto", description="Coloured output; auto colours a terminal only.")

    @property
    def keys_on_token(self) -> tuple[str, ...]:
        """The names of the keys that live on the PKCS#11 token, not in the keyring."""
        return tuple(self.pkcs11_keys.split(",")) if self.pkcs11_keys else ()

    @property
    def passphrase_path(self) -> Path:
        """The passphrase file in force when no credential is given."""
        return self.passphrase_file or self.home / "passphrase"


#: Defaults that the machine decides, in words; every other default stands in the model.
_MACHINE_DEFAULTS = {
    "home": "`$XDG_DATA_HOME/nimmerverse`, else `~/.local/share/nimmerverse`",
    "site": "this machine's host name",
    "passphrase_credential": f"`$CREDENTIALS_DIRECTORY/{CREDENTIAL_NAME}` where that file exists",
    "color": "`auto`, or `never` where `NO_COLOR` is set",
}
_PATHS = frozenset(
    {
        *("home", "nats_creds", "nats_nkey", "passphrase_file", "passphrase_credential"),
        *("anchor_tsa_ca", "anchor_headers", "artifact_credentials", "language_key"),
        *("pkcs11_module", "pkcs11_pin_file", "signing_keys", "signing_rules", "root_keys"),
        *("meaning_catalogue", "voice_key", "ears_key", "ears_commands", "energy_meter_file"),
    }
)
#: What is of use with the address of a server only.
_FOR = {
    "nats_creds": "nats_url",
    "nats_nkey": "nats_url",
    "artifact_credentials": "artifact_url",
    "language_key": "language_url",
    "language_model": "language_url",
    "vision_model": "vision_url",
    "voice_key": "voice_url",
    "voice_model": "voice_url",
    "ears_key": "ears_url",
    "ears_model": "ears_url",
}
_SERVERS = ("language", "vision", "voice", "ears")  #: a server of each takes a model's name
_TOKEN = ("pkcs11_module", "pkcs11_token", "pkcs11_pin_file", "pkcs11_keys")  #: all of them, or none


class Effective(NamedTuple):
    """One row of the effective configuration, safe to print: secrets inside the value are redacted."""

    name: str
    value: str
    origin: str
    description: str


@dataclass(frozen=True)
class Loaded:
    """Settings and, for each of them, where its value came from."""

    settings: Settings
    origin: Mapping[str, str]

    def effective(self) -> Iterator[Effective]:
        """Every setting with its value, origin and description, in the model's order."""
        for name, info in Settings.model_fields.items():
            value: object = getattr(self.settings, name)
            shown = "" if value is None else redact(str(value))
            yield Effective(name, shown, self.origin[name], info.description or "")


@dataclass(frozen=True)
class _Found:
    """A value as text, where it stood, and the folder from which its relative paths count."""

    text: str
    origin: str
    base: Path


def redact(text: str) -> str:
    """The text without what may be a secret: all between a scheme and the last `@`, and all after `password=`."""
    text = re.sub(r"(?s)^([a-z+]+://)?.*@", r"\1***@", text)
    return re.sub(r"(?is)(password|token)=.*", r"\1=***", text)


def load(environ: Mapping[str, str], overrides: Mapping[str, str], hostname: str) -> Loaded:
    """The configuration in force.

    Raises ConfigFault for an unknown or invalid setting, an unreadable file, or settings that contradict each other.
    """
    here = Path.cwd()
    variables = {_known(key, "environment"): (key, text) for key, text in environ.items() if key.startswith(PREFIX)}
    given = {name: _Found(text, f"environment {key}", here) for name, (key, text) in variables.items()}
    given |= {_known(key, "command line"): _Found(text, "command line", here) for key, text in overrides.items()}
    defaults = _machine_defaults(environ, hostname)
    home = _home(given, defaults, environ)
    found = defaults | _from_file(home / FILE_NAME) | given
    found = {name: defaults.get(name, item) if item.text == "" else item for name, item in found.items()}
    found["home"] = _Found(str(home), found["home"].origin, here)
    _refuse_contradictions(found)
    settings = _validated(found, environ)
    origin = {name: found[name].origin if name in found else "default" for name in Settings.model_fields}
    return Loaded(settings, origin)


def render_config_md() -> str:
    """The configuration reference, `docs/config.md`."""
    lines = [
        "# Configuration",
        "",
        "Generated by `nimmerverse subjects --write`; do not edit.",
        "",
        "Each source is stronger than the one before: default, `config.toml` in the home folder, environment, command",
        "line (`name=value`). An empty value resets a setting to its default. `home` cannot be set in the file.",
        "",
        "| setting | variable | default | expected | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, info in Settings.model_fields.items():
        default = _MACHINE_DEFAULTS.get(name) or ("empty" if info.default is None else f"`{info.default}`")
        meaning = info.description or ""
        lines.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {default} | {_expected(name)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _known(key: str, source: str) -> str:
    name = key.removeprefix(PREFIX).lower() if source == "environment" else key
    spelled = PREFIX + name.upper() if source == "environment" else name
    if name in Settings.model_fields and spelled == key:
        return name
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
    suggestion = PREFIX + near[0].upper() if near and source == "environment" else "".join(near)
    hint = f"did you mean {suggestion}?" if near else f"known settings are {', '.join(Settings.model_fields)}."
    raise ConfigFault(f"unknown setting {key!r} ({source}): {hint}")


def _machine_defaults(environ: Mapping[str, str], hostname: str) -> dict[str, _Found]:
    root = Path("/")
    data = Path(environ.get("XDG_DATA_HOME", ""))
    if not data.is_absolute():  # the XDG specification says to ignore a relative one
        data = Path("~/.local/share")
    found = {"home": _Found(str(data / "nimmerverse"), "default", root), "site": _Found(hostname, "default", root)}
    if environ.get("NO_COLOR"):
        found["color"] = _Found("never", "environment NO_COLOR", root)
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL_NAME
    if credential.is_absolute() and os.path.exists(credential):  # noqa: PTH110 - Path.exists raises in a closed folder
        found["passphrase_credential"] = _Found(str(credential), "environment CREDENTIALS_DIRECTORY", root)
    return found


def _home(given: Mapping[str, _Found], defaults: Mapping[str, _Found], environ: Mapping[str, str]) -> Path:
    found = given["home"] if "home" in given and given["home"].text else defaults["home"]
    home = _path("home", found, environ)
    if os.path.lexists(home) and not os.path.isdir(home):  # noqa: PTH112 - Path.is_dir raises in a closed folder
        raise _fault("home", found, "a folder; remove what stands there or choose another path")
    return home


def _path(name: str, found: _Found, environ: Mapping[str, str]) -> Path:
    if not found.text.isprintable():
        raise _fault(name, found, "a path without control characters")
    if found.text != "~" and not found.text.startswith("~/"):
        return found.base / found.text
    user_home = environ.get("HOME", "")
    if not user_home:
        raise _fault(name, found, "HOME to be set, or a path that does not begin with ~")
    return found.base / user_home / found.text[2:]


def _from_file(path: Path) -> dict[str, _Found]:
    origin = f"file {path}"
    try:
        with path.open("rb") as file:
            table = cast("dict[str, object]", tomllib.load(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}): make it a readable file or remove it.") from error
    except ValueError as error:  # TOML and UTF-8 errors alike
        raise ConfigFault(f"{path} is not valid TOML ({error}): correct it or remove it.") from error
    return {_known(key, origin): _Found(_text(key, value, origin), origin, path.parent) for key, value in table.items()}


def _text(key: str, value: object, origin: str) -> str:
    if key == "home":
        raise ConfigFault(f"home is set in {origin}, which lies in the home folder itself: set {PREFIX}HOME instead.")
    if isinstance(value, bool) or not isinstance(value, str | int):
        kind = type(value).__name__
        raise ConfigFault(f"{key} ({origin}) is a {kind}; expected a string or a whole number: correct it.")
    return str(value)


def _refuse_contradictions(found: Mapping[str, _Found]) -> None:
    given = {name: item for name, item in found.items() if item.text}
    for one, other in (("nats_creds", "nats_nkey"), ("nats_port", "nats_url"), ("vision_detector", "vision_url")):
        if one in given and other in given:
            both = f"{one} ({given[one].origin}) and {other} ({given[other].origin})"
            raise ConfigFault(f"{both} contradict each other: set at most one of them.")
    if ("anchor_tsa_url" in given) != ("anchor_tsa_ca" in given):
        alone = given["anchor_tsa_url" if "anchor_tsa_url" in given else "anchor_tsa_ca"]
        raise ConfigFault(
            f"anchor_tsa_url and anchor_tsa_ca belong together, found one ({alone.origin}): an authority is worth what "
            "its certificates are; set both, or remove it."
        )
    for name, server in _FOR.items():
        if name in given and server not in given:
            raise ConfigFault(f"{name} ({given[name].origin}) has no server to log in to: set {server}, or remove it.")
    if "artifact_url" in given and "artifact_credentials" not in given:
        raise ConfigFault(
            f"artifact_url ({given['artifact_url'].origin}) has no account: set artifact_credentials too."
        )
    for what in _SERVERS:
        url, model = f"{what}_url", f"{what}_model"
        if url in given and model not in given:
            raise ConfigFault(f"{url} ({given[url].origin}) names no model: set {model} too.")
    missing = [name for name in _TOKEN if name not in given]
    if 0 < len(missing) < len(_TOKEN):
        name = next(name for name in _TOKEN if name in given)
        alone = f"{name} ({given[name].origin}) says nothing without {' and '.join(missing)}"
        raise ConfigFault(f"{alone}: set those too, or remove it.")


def _validated(found: Mapping[str, _Found], environ: Mapping[str, str]) -> Settings:
    values: dict[str, object] = {}
    for name, item in found.items():
        if item.text:
            values[name] = _path(name, item, environ) if name in _PATHS else item.text
        if not item.text.isprintable():
            raise _fault(name, item, f"{_expected(name)}, without control characters")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise _fault(name, found.get(name, _Found("", "default", Path("/"))), _expected(name)) from None


def _expected(name: str) -> str:
    words = [item.words for item in Settings.model_fields[name].metadata if isinstance(item, Expected)]
    return words[0]


def _fault(name: str, found: _Found, expected: str) -> ConfigFault:
    return ConfigFault(f"{name} is {redact(found.text)!r} ({found.origin}); expected {expected}.")
