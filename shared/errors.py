"""Every way this product says no, in one file.

Three families, and only three:

* a **Refusal** is data: an expected no with a stable code; it travels in replies, dead letters and verdicts;
* a **Fault** is operating trouble: an exception with typed fields and whether a retry can help;
* a broken `assert` is our own bug and stops the part.

`docs/errors.md` is generated from this module.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self

import msgspec


class Exit(IntEnum):
    """Exit codes of the command line; they never change their meaning. Each has its words, as every help lists them."""

    words: str

    def __new__(cls, code: int, words: str) -> Self:
        """Make a member that is its code and has its words."""
        made = int.__new__(cls, code)
        made._value_ = code
        made.words = words
        return made

    OK = 0, "done"  #: all held
    FAILED = 1, "a check or step did not hold"  #: a check, a step or a test did not hold
    USAGE = 2, "wrong usage"  #: the command line itself is wrong
    CONFIG = 3, "a setting is wrong"  #: a setting is unknown or invalid
    IN_USE = 4, "folder or port in use"  #: a folder or port belongs to another process
    UNREACHABLE = 5, "a server is missing"  #: a server is missing or does not answer
    KEY = 6, "key or passphrase"  #: a key file is unreadable or its passphrase is wrong
    REFUSED = 7, "refused"  #: a typed refusal came back, or permission is missing
    STORAGE = 8, "disk full or not writable"
    UNKNOWN_SIGNER = 10, "consistent, signer unknown"  #: all is consistent, but nobody said whom to trust
    TAMPERED = 11, "tampered"  #: an entry, tile, signature or view's row is not as the log says; the first is named
    INCOMPLETE = 12, "incomplete"  #: entries that a checkpoint commits to are missing; the range is named
    STALE = 13, "stale"  #: the newest checkpoint is older than was asked for
    FUTURE = 14, "from the future"  #: a checkpoint or an entry is from the future
    TRUNCATED = 15, "truncated"  #: a bundle or a file of it was cut short
    ENLARGED = 16, "enlarged"  #: a bundle holds more than it lists
    MIXED = 17, "mixed"  #: a bundle is made of parts of two logs
    WRONG_SIGNER = 18, "wrong signer"  #: the signer is not the trusted one
    BAD_PROOF = 19, "bad proof"  #: a proof has the wrong size or does not lead to the checkpoint's root
    FORKED = 20, "forked"  #: two checkpoints of one log contradict each other
    VOID = 21, "void entries"  #: all is as signed, and some entries are void: they were refused, and take no effect
    LOST = 22, "lost"  #: entries that a kept checkpoint commits to are gone, and the log itself says so in an epoch
    INTERRUPTED = 130, "interrupted by Ctrl-C or SIGTERM, which stop `up` and `part` in order: those end with 0"

    @property
    def is_of_an_audit(self) -> bool:
        """Whether this is what an audit found, not how a command ended."""
        return Exit.UNKNOWN_SIGNER <= self < Exit.INTERRUPTED


class Code(msgspec.Struct, frozen=True):
    """One refusal code: its name and the sentence that says when it happens."""

    code: str
    name: str
    when: str


def _codes(*rows: tuple[str, str, str]) -> dict[str, Code]:
    return {code: Code(code, name, when) for code, name, when in rows}


#: Refusals in the order admission judges them (R005 leads when bytes cannot be read at all), then the bus's own (B…),
#: the anchors' (A…), the artifact store's (S…), the motors' (M…), the function boundary's (F…), those of
#: memory and language (L…), the eyes' (E…), of hearing and speaking (H…); those of corpora (C…), datasets (D…), the
#: site's energy (W…), policies (Q…), training (T…), evaluation (V…), votes (G…), the registry (N…), and about personal
#: data (P…).
CODES = _codes(
    (
        "R001",
        "EXPIRED",
        "The entry's time plus its ttl lies before, or its time more than 30 s after, the judging clock.",
    ),
    (
        "R002",
        "BAD_SIGNATURE",
        "No registered key signed these bytes: the key is unknown or the signature does not verify.",
    ),
    ("R003", "IHSAN_TOO_LOW", "The class requires scores and ihsan is missing or below 0.95."),
    ("R004", "SNR_TOO_LOW", "The class requires scores and snr is missing or below 0.85."),
    (
        "R005",
        "MALFORMED",
        "The bytes are not exactly one canonical envelope, or its events are not canonical or do not match its root.",
    ),
    (
        "R006",
        "REPLAYED",
        "The same signer and event id were admitted earlier in this lane, or `prev` is not the lane's last index.",
    ),
    ("R007", "NOT_ENTITLED", "The signing key is not valid at this index, or not entitled to this subject."),
    ("R008", "SUBJECT_MISMATCH", "The signed subject is not the subject of delivery, or not a decision's subject."),
    ("R009", "TOO_FEW_OWNERS", "Fewer distinct owners signed than the class or the genesis demands."),
    ("B001", "UNKNOWN_SUBJECT", "No message class is declared for this subject."),
    ("B002", "BAD_PAYLOAD", "The bytes are not exactly one canonical message of the subject's class."),
    ("B003", "OVERSIZE", "The message is larger than its kind may be."),
    ("B004", "NOT_AN_INBOX", "The reply subject is not an inbox; an honest part answers nowhere else."),
    ("B005", "NOT_PERMITTED", "The server refused this identity the subject."),
    ("B006", "UNANSWERED", "Nobody listens on the request subject, or no answer came in time."),
    ("B007", "LANE_MOVED", "Another writer appended to the lane first; decide again on the evolved state."),
    ("B008", "BUSY", "The bounded queue of this part is full; try later."),
    (
        "B009",
        "HANDLER_FAILED",
        "The part's own code failed on this message; the message is dead-lettered with the error.",
    ),
    ("B010", "STALE", "The request's own deadline had passed when it arrived."),
    ("B011", "NO_MODEL", "This organ has no model or device configured; it never invents a result."),
    ("B012", "NOT_COMPUTABLE", "The input is well formed, but the capability has no answer for it."),
    ("B013", "NOT_YET_SIGNED", "No signed checkpoint covers this position of the log yet; ask again in a moment."),
    ("B014", "RESTING", "There is no lifeforce, so this part takes nothing until there is; try later."),
    ("A001", "NOT_ANCHORED", "The anchor of a digest is worth less than what is demanded here; both states are named."),
    (
        "A002",
        "NO_PROOF",
        "The bytes are not exactly one OpenTimestamps proof, or not of the digest they are shown for.",
    ),
    ("A003", "BAD_HEADER", "The block header has the wrong size, too little work, or another Merkle root."),
    ("A004", "BAD_CALENDAR", "A calendar or an authority answered with something that is no answer."),
    ("A005", "BAD_TOKEN", "The time-stamp token does not verify for this digest and this authority."),
    (
        "A006",
        "TOO_MANY_WAITING",
        "So many digests wait for a Bitcoin block that no further one is taken; nothing of the request is kept.",
    ),
    (
        "S001",
        "NOT_A_DIGEST",
        "An artifact is named by its BLAKE3 digest, 64 lower-case hexadecimal digits, and by nothing else.",
    ),
    ("S002", "NO_SUCH_ARTIFACT", "The store holds nothing under this digest."),
    ("S003", "TOO_LARGE", "The artifact is larger than the reader is prepared to hold at once."),
    ("S004", "BAD_MEDIA_TYPE", "The media type is not `type/subtype` as RFC 6838 restricts it."),
    ("S005", "PARENT_UNKNOWN", "An artifact names a parent that the store has never held, or itself."),
    ("M001", "OUTNUMBERED", "The same commander's command with a higher number was obeyed before."),
    ("M002", "OUTRANKED", "A commander of a higher rank holds the motors for a moment still."),
    ("M003", "TOO_FAST", "The command is faster than these motors are allowed to be."),
    ("F001", "BAD_STATE", "A state is not of the boundary's task: a field is missing, unknown or out of range."),
    ("F002", "WRONG_MODEL", "A file is not what its digest names, or no model of this task; nothing of it is loaded."),
    (
        "F003",
        "BAD_TRAIL",
        "What shall be learned, a line or a correction, is not exactly one state and one call of the task.",
    ),
    (
        "L001",
        "OVER_BUDGET",
        "The lifeforce or the time that the request allows does not carry the answer that it asks for.",
    ),
    (
        "L002",
        "BAD_SCHEMA",
        "The JSON schema of an answer cannot be read, or says what cannot be held against an answer.",
    ),
    (
        "L003",
        "NOT_AS_ASKED",
        "The model's words were cut off, empty, or not of the shape that was asked for, after every attempt.",
    ),
    ("L004", "MODEL_FAILED", "A model's server or process is away, full, or failed while it answered."),
    ("L005", "NO_SUCH_PASSAGE", "Memory holds no passage with this id."),
    (
        "L006",
        "NOT_AS_LOGGED",
        "What memory keeps of a passage is not what the log says: it is named, and not told.",
    ),
    ("E001", "NOT_A_PICTURE", "The bytes are not one whole PNG or JPEG picture that can be decoded."),
    ("E002", "PICTURE_TOO_LARGE", "The picture has more bytes or more pixels than are read."),
    ("H001", "NOT_AUDIO", "The bytes are no WAV file with 16-bit PCM samples; what was found is named."),
    ("H002", "TOO_LONG", "What is to be spoken or heard takes longer than one message may."),
    ("H003", "SILENCE", "There is nothing to hear in the sound, or nothing to speak in the text."),
    ("H004", "NOT_UNDERSTOOD", "Something was heard, and it is none of the sentences that can be understood here."),
    ("H005", "NO_SUCH_VOICE", "The engine has no voice of this name."),
    ("H006", "SPEECH_FAILED", "The engine that speaks or hears ended, hung, or its server failed."),
    ("C001", "OTHER_RULES", "The corpus was begun by other rules; another name makes another corpus."),
    ("C002", "CORPUS_FINISHED", "The corpus is finished and takes nothing more."),
    ("C003", "NOT_THE_NEXT", "The batch is not the one after the last; begin again where the corpus stands."),
    (
        "C004",
        "BAD_POST",
        "A post cannot be read: its bytes, a missing field, or a field of another kind; the line is named.",
    ),
    ("C005", "POST_TOO_LARGE", "A post is larger than any may be."),
    ("C006", "ID_CONFLICT", "Two posts of one id have different texts."),
    ("C007", "NO_CORPUS", "There is no corpus of this name."),
    ("C008", "NO_POST", "No post of this id is in the dataset."),
    ("D001", "OTHER_FACTS", "The dataset is registered with other facts; what changed is another dataset."),
    ("D002", "NO_DATASET", "No dataset is registered under this digest."),
    ("D003", "NO_CONCERN", "Nothing of that name stands against the dataset, so there is nothing to approve."),
    ("D004", "DATASET_BLOCKED", "The dataset may not teach: what stands against it was not approved."),
    ("D005", "DATASET_CHANGED", "The dataset's content is not what was registered."),
    ("D006", "FACTS_CONTRADICT", "What is said of the dataset is not what its own content says."),
    ("W001", "NO_READING", "There is no reading of the site's meters, or only a stale one."),
    ("W002", "BAD_READING", "What a meter's program wrote is not exactly one reading; nothing is taken from it."),
    ("Q001", "UNDEFINED", "The policy says nothing about this input, which is a denial."),
    ("Q002", "POLICY_FAILED", "The policy's engine could not evaluate it, which is a denial."),
    ("Q003", "BAD_POLICY", "The policy cannot be read, or is none of this product's shape."),
    ("Q004", "DENIED", "A policy denies this; every row that does not hold is named."),
    ("Q005", "NOT_NEXT", "A policy in this state of its life does not get into that one, or not yet."),
    ("Q006", "NOT_ASKED", "There is no added policy of this name, or it is one that nobody asks."),
    ("T001", "NO_JOB", "There is no job of this id."),
    ("T002", "UNKNOWN_BACKEND", "There is no training backend of this name, or it is not installed; how to is said."),
    ("T003", "BAD_SPEC", "A job's hyperparameter, step count or worker count is out of its range."),
    ("T004", "UNKNOWN_RECIPE", "No recipe trains this family."),
    (
        "T005",
        "NO_PROPOSAL",
        "Nothing trains or deploys without an accepted proposal or an exemption that policy names.",
    ),
    ("T006", "NOT_TRAINABLE", "A dataset of the job may not teach, or is not of the kind that its recipe learns from."),
    ("T007", "JOB_ENDED", "The job has ended; a correction is a new job."),
    ("T008", "NO_CONSENSUS", "Too few of the registered workers agree on the checkpoint."),
    (
        "T009",
        "BAD_CHECKPOINT",
        "A checkpoint is not what its digest names, or no safetensors file; nothing of it is read.",
    ),
    ("T010", "NOT_A_RECORD", "The bytes are not exactly one canonical run record."),
    ("T011", "BAD_MOVE", "A job in this state does not get into that one."),
    ("T012", "JOB_TAKEN", "The same spec by the same person is this job already; its id is named."),
    (
        "T013",
        "UNKNOWN_BASE",
        "A job goes on only from what a recorded run left, or from weights that were registered with their origin.",
    ),
    ("V001", "NO_SUITE", "There is no evaluation suite of this name for this family."),
    ("V002", "NOT_MEASURABLE", "The suite cannot measure this model; nothing is reported in its place."),
    ("V003", "BAD_SUITE", "The suite's dataset is not registered, or not what its digest names."),
    ("V004", "BAD_MODEL", "The model cannot be loaded, so it was not measured."),
    ("G001", "NO_PROPOSAL_OF_THIS_ID", "There is no proposal of this id."),
    ("G002", "BAD_PROPOSAL", "A proposal's field is missing, too long or out of its range."),
    ("G003", "PROPOSAL_TAKEN", "The id belongs to another proposal."),
    ("G004", "FINAL", "The proposal is accepted or rejected, and that is final."),
    ("G005", "AI_FIRST", "A person votes after the AI did (409)."),
    ("G006", "VOTED_ALREADY", "This role was voted already; one vote each."),
    ("G007", "NOT_THIS_ROLE", "The voter's key was not introduced with this role."),
    ("G008", "NO_EVIDENCE", "The evidence that a computed vote rests on is missing or too short."),
    ("G009", "NO_REASON", "A vote comes with its reason; blanks are none."),
    ("G010", "NO_SUCH_PERSON", "Nobody of this name was introduced, or their key ended."),
    ("N001", "NO_FAMILY", "The registry knows no model of this family."),
    ("N002", "VERSION_TAKEN", "A version is immutable; what changed is another version."),
    ("N003", "NO_RUN", "No recorded run made this model."),
    ("N004", "NO_MODEL_OF_FAMILY", "The family has no model of this digest."),
    ("N005", "NOTHING_IN_FORCE", "Nothing is in force at this target."),
    ("N006", "NOT_PROMOTED", "Only a promoted model is loaded, and the log promotes no such model here."),
    ("N007", "BAD_MARK", "The owner's mark is not in the model, or cannot be embedded into it."),
    ("N008", "STANDS_ALREADY", "No emergency is declared for a model that stands at the target already."),
    ("N009", "MEASURED_TOO_OFTEN", "The model was measured by as many suites as the registry keeps."),
    ("P001", "ERASED", "The person's key was destroyed; the detail names where the log says so."),
    ("P002", "UNKNOWN_PERSON", "The vault knows neither a key nor an erasure of this person."),
    ("P003", "UNOPENABLE", "The sealed bytes were not sealed under this person's key, or were altered since."),
)


#: Refusals by which nobody has judged what was asked: nobody answers, or too much waits already.
UNJUDGED = frozenset({"B006", "B008"})


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An expected no: a stable `code` of CODES and what was found, what was expected, what to do."""

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code!r} is no refusal code")

    @property
    def name(self) -> str:
        """The code's stable name."""
        return CODES[self.code].name

    def __str__(self) -> str:
        return f"{self.code} {self.name}: {self.detail or CODES[self.code].when}"


class Refused(Exception):
    """Carries a Refusal through code that cannot return one."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Fault(Exception):
    """Operating trouble. `retry` says whether the same call may succeed later; `exit` is the command line's status."""

    retry: ClassVar[bool] = False
    exit: Exit = Exit.FAILED


class ConfigFault(Fault):
    """A setting is unknown, invalid or contradicts another; the sentence names the nearest known setting."""

    exit = Exit.CONFIG


class InUse(Fault):
    """A data folder or a port belongs to another running process, which the sentence names."""

    exit = Exit.IN_USE


class Unreachable(Fault):
    """A server is missing, does not answer, or the link to it is down."""

    retry = True
    exit = Exit.UNREACHABLE


class NoStream(Unreachable):
    """The server answers, and nobody there has the stream."""


class Unanswered(Unreachable):
    """A question that changes nothing had no answer in time, though the link may be up: it may be asked again."""


class ServerFailed(Fault):
    """An embedded server did not start or stopped again and again; the sentence carries its last log line."""

    exit = Exit.UNREACHABLE


class KeyFault(Fault):
    """A key file is unreadable, malformed, readable by others, or its passphrase is wrong."""

    exit = Exit.KEY


class StorageFault(Fault):
    """A file or a stream could not be written: disk full, quota reached, or a read-only folder."""

    retry = True
    exit = Exit.STORAGE


class Damaged(Fault):
    """Stored bytes are not those that their digest names: flipped, cut short, grown, or something else entirely."""

    exit = Exit.TAMPERED


class BadProof(Fault):
    """A proof is malformed, of the wrong size, or does not lead to what it has to prove; the sentence says which."""

    exit = Exit.BAD_PROOF


class NotPermitted(Fault):
    """The server refused this identity a subject it does not own."""

    exit = Exit.REFUSED


class LogFault(Fault):
    """A replay met a gap, an entry out of order, or a record that contradicts what was read before."""


class Unresolved(Fault):
    """An append had no answer in time and the log could not say its fate; the same event id makes a retry safe."""

    retry = True
    exit = Exit.UNREACHABLE


class WallClockUse(Fault):
    """Code asked the machine for time, chance or an id instead of the World."""


class Deadlock(Fault):
    """Under simulated time every task waits and no timer is set."""
