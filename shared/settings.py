"""Every setting: its type, its default, and what it is for. `shared/config.py` reads them at the edge.

The rules between settings stand beside their reading; here stands what holds for one alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


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


def _replicas(count: int) -> int:
    if count not in {1, 3, 5}:
        raise ValueError
    return count


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
Replicas = Annotated[int, AfterValidator(_replicas), Expected("1, 3 or 5")]
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
Metering = Literal["none", "declared", "file", "csv"]
MeterWanted = Annotated[Metering | None, Expected("none, declared, file or csv")]
Zone = Annotated[
    Annotated[str, AfterValidator(_zone)] | None, Expected("a zone of this machine's tz database: Europe/Berlin")
]
DayTime = r"([01]\d|2[0-3]):[0-5]\d"
HoursOfDay = Annotated[
    str, Field(pattern=f"^{DayTime}-{DayTime}$"), Expected("HH:MM-HH:MM, the second not in it any more")
]
Kilowatts = Annotated[int, Field(ge=0, le=1_000_000_000), Expected("a whole number from 0 to 1000000000")]
Permit = Annotated[
    Annotated[int, Field(ge=0, le=1_000_000_000)] | None, Expected("a whole number from 0 to 1000000000")
]
Turbines = Annotated[Literal["none", "yes"] | None, Expected("none or yes")]
Switch = Annotated[Literal["on", "off"], Expected("on or off")]
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
    nats_replicas: Replicas = Field(
        1, description="How many servers of the cluster at nats_url keep each stream and bucket."
    )
    nats_port: Port = Field(None, description="Port of the embedded NATS server; empty chooses a free one.")
    bus_fast_lane: Switch = Field("on", description="Whether messages take the fast lane around nats-py's own parser.")
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
        None, description="NOx in mg/h that the permit of the site's turbines allows; empty where there is none."
    )
    energy_turbines: Turbines = Field(
        None,
        description="Whether the site has turbines, `yes` or `none`; empty says nothing, and without figures of NOx no "
        "model is promoted.",
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
    def meter(self) -> Metering:
        """The kind of meter in force: where nobody named one, the operator's word in dev, and none elsewhere."""
        return self.energy_meter or ("declared" if self.env == "dev" else "none")

    @property
    def fast(self) -> bool:
        """Whether the bus's messages take the fast lane (shared/bus/fastlane.py)."""
        return self.bus_fast_lane == "on"

    @property
    def metered(self) -> bool:
        """Whether readings of the site's power are to be expected: where they are, none is no power."""
        return self.meter != "none"

    @property
    def passphrase_path(self) -> Path:
        """The passphrase file in force when no credential is given."""
        return self.passphrase_file or self.home / "passphrase"


def expected(name: str) -> str:
    """Return what a valid value of a setting looks like, in words."""
    words = [item.words for item in Settings.model_fields[name].metadata if isinstance(item, Expected)]
    return words[0]
