"""The registry: nothing is promoted without every piece of its evidence, and what was in force when is exact."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from deploy.commands.promote import awaited
from shared.errors import Refusal
from shared.message import Message
from shared.policy import Policies
from shared.registry import in_force, status_of
from shared.registry.family import EVALUATIONS, NOTES
from shared.registry.rejudging import rejudged
from shared.subjects.consensus import Role
from shared.subjects.evaluation import Metric
from shared.subjects.registry import (
    EvidenceNoted,
    FamilyStated,
    FamilyStatus,
    ManifestStated,
    ModelPromoted,
    ModelRolledBack,
    PromoteModel,
    PromotionBlocked,
    RegisterModel,
    RollBackModel,
    StateManifest,
    Target,
)
from shared.subjects.system import Tick
from tests.promotions import (
    DATASET,
    FAMILY,
    HOUR_MS,
    LEADS,
    MODEL,
    NOW_MS,
    OTHER,
    SECOND,
    SECOND_RECORD,
    Lane,
    accepted,
    evaluated,
    facts,
    power,
    run,
    verified,
)

TICK = Tick("registry", "boot", 1, NOW_MS)
DAY_MS = 24 * HOUR_MS


def failing(blocked: Any) -> dict[str, str]:  # noqa: ANN401 - whatever was decided
    """The rows that did not hold, with their reasons; a promotion that was blocked, and nothing else."""
    assert isinstance(blocked, PromotionBlocked), blocked
    return {row.name: row.reason for row in blocked.judgement.rows if not row.holds}


# Registering


@pytest.mark.spec("ILL-01")
def test_a_model_is_registered_once_by_what_its_run_says() -> None:
    """Without a recorded run, with another record, job or datasets, or under a taken version a model is refused."""
    lane = Lane()
    assert "N003" == lane.refused(RegisterModel(FAMILY, MODEL, facts()))
    lane.hear(run())
    for wrong in (facts(record="0" * 64), facts(job="job-2"), facts(datasets=[DATASET])):
        assert "N003" == lane.refused(RegisterModel(FAMILY, MODEL, wrong))
    assert facts() == lane.hear(RegisterModel(FAMILY, MODEL, facts())).facts
    assert "N002" == lane.refused(RegisterModel(FAMILY, MODEL, facts()))
    assert "N002" == lane.refused(RegisterModel(FAMILY, MODEL, facts(version="2")))
    lane.hear(run(SECOND, SECOND_RECORD))
    assert "N002" == lane.refused(RegisterModel(FAMILY, SECOND, facts(SECOND_RECORD)))
    assert facts() == lane.state.models[MODEL]


@pytest.mark.spec("ILL-01", "COL-10")
@pytest.mark.parametrize(
    ("went_on_from", "said"), [("", [OTHER]), (OTHER, []), (OTHER, [SECOND]), (OTHER, [OTHER, SECOND])]
)
def test_a_models_parents_are_what_its_run_went_on_from(went_on_from: str, said: list[str]) -> None:
    """Parents that the run has not, or a base that is left out: refused N003."""
    lane = Lane()
    lane.hear(run(base=went_on_from))
    no = lane.hear(RegisterModel(FAMILY, MODEL, facts(parents=said)))
    assert ("N003", True) == (no.code, "its parents" in no.detail)
    good = lane.hear(RegisterModel(FAMILY, MODEL, facts(parents=[went_on_from] if went_on_from else [])))
    assert MODEL == good.model


@pytest.mark.spec("ILL-01")
def test_a_family_is_told_newest_first() -> None:
    """Status tells versions, where each stands and its evidence; a family that nobody knows is refused N001."""
    lane = Lane()
    assert "N001" == lane.hear(FamilyStatus(FAMILY)).code
    lane.ready()
    lane.register(SECOND, SECOND_RECORD, "2")
    lane.promote(target="staging")
    told = lane.hear(FamilyStatus(FAMILY))
    assert isinstance(told, FamilyStated)
    assert (MODEL, "") == (told.staging, told.prod)
    assert [(SECOND, "draft"), (MODEL, "staging")] == [(each.model, each.status) for each in told.models]
    assert any(line.startswith("evaluation reflexes 1 at (") for line in told.models[1].evidence)


@pytest.mark.spec("ILL-01")
def test_what_is_heard_about_a_family_that_nobody_knows_begins_no_lane() -> None:
    """A power window, a verification or a ballot in a name without models is no evidence for anything."""
    lane = Lane()
    for message in (power(), verified(), evaluated(), accepted()):
        assert lane.hear(message) is None
    assert lane.word("signer", "sig", "0" * 64) is None
    assert [] == lane.decided


# The gate


@pytest.mark.spec("COL-10", "COL-11", "ILL-07", "ZER-02")
def test_a_model_with_all_its_evidence_goes_to_staging_and_then_to_prod() -> None:
    """Both promotions stand in the log with every row, the policy's digest, and the signers who counted."""
    lane = Lane()
    lane.ready()
    staged = lane.promote(target="staging")
    assert isinstance(staged, ModelPromoted)
    lane.words(signers=("sig",))
    promoted = lane.promote()
    assert isinstance(promoted, ModelPromoted)
    assert (MODEL, "prod", ["sig"], "", False) == (
        promoted.model,
        promoted.target,
        promoted.signatures,
        promoted.replaces,
        promoted.emergency,
    )
    assert promoted.judgement.policy == lane.nerve.gate.policies.digest
    assert all(row.holds for row in promoted.judgement.rows)
    assert staged.manifest != promoted.manifest == lane.manifest()


#: piece of evidence: its kind among the notes, and the rows that name it
EVIDENCE: dict[str, tuple[str, set[str]]] = {
    "power": ("power", {"power_kw", "power_age_s", "power_measured", "nox"}),
    "dataset": ("dataset", {"merkle_valid", "anchored"}),
    "run": ("run", {"consensus", "workers"}),
    "proposal": ("proposal", {"proposal"}),
    "signature": ("signature", {"signatures"}),
    "release_manager": ("approval", {"release_manager"}),
    "safety_lead": ("approval", {"safety_lead"}),
    "infrastructure_lead": ("approval", {"infrastructure_lead"}),
}


@pytest.mark.spec("COL-10", "X-06", "ILL-07")
@pytest.mark.parametrize("piece", [*EVIDENCE])
def test_without_any_one_piece_of_evidence_a_promotion_is_blocked_by_name(piece: str) -> None:
    """Whatever nobody noted is MISSING in the recorded refusal, and no other row is."""
    lane = Lane()
    lane.staged()
    kind, rows = EVIDENCE[piece]
    named = kind if kind != "approval" else f"{piece} the_{piece}"
    kept = [
        note for note in lane.state.notes if not (note.evidence == kind and (kind != "approval" or note.name == named))
    ]
    lane.state = replace(lane.state, notes=tuple(kept))
    blocked = lane.promote()
    found = failing(blocked)
    assert rows == set(found)
    assert all(reason.startswith("MISSING") or row == "signatures" for row, reason in found.items())
    assert (blocked, lane.index) == lane.decided[-1]
    assert "staging" == status_of(lane.state, MODEL)


@pytest.mark.spec("COL-10", "X-06", "ILL-06")
def test_without_an_evaluation_nothing_is_promoted() -> None:
    """A model that no suite measured has no quality, bias or hallucination, and its manifest has no report."""
    lane = Lane()
    lane.register()
    for message in (verified(), verified(OTHER), power(), accepted()):
        lane.hear(message)
    lane.words(target="staging")
    missing = {"bias", "hallucination", "quality", "not_worse", "suites"}
    assert missing - {"not_worse"} <= set(failing(lane.promote(target="staging"))) <= missing


#: row: (a message that makes it fail alone, its reason; a message at the exact boundary that holds)
THRESHOLDS: dict[str, tuple[Message, str, Message]] = {
    "power_kw": (power(power_kw=250_001), "TOO_HIGH", power(power_kw=250_000)),
    "nox": (power(nox_mg_h=1_001), "TOO_HIGH", power(nox_mg_h=1_000)),
    "merkle_valid": (verified(merkle_valid=False), "NOT_SO", verified()),
    "anchored": (verified(OTHER, anchored=False), "NOT_SO", verified(OTHER)),
    "bias": (evaluated(bias=250_000), "TOO_HIGH", evaluated(bias=249_999)),
    "hallucination": (evaluated(hallucination=150_000), "TOO_HIGH", evaluated(hallucination=149_999)),
    "quality": (evaluated(quality=899_999), "TOO_LOW", evaluated(quality=900_000)),
    "consensus": (run(consensus_ppm=989_999), "TOO_LOW", run(consensus_ppm=990_000)),
    "workers": (run(registered=1), "TOO_LOW", run(registered=2)),
}  # fmt: skip
MISSED: dict[str, Message] = {
    "power_kw": power(source=""),
    "nox": power(nox_permit_mg_h=None),
    "nox of a meter": power(nox_mg_h=None),
    "nox of either": power(nox_mg_h=None, nox_permit_mg_h=None),
    "nox of turbines that nobody speaks of": power(nox_mg_h=None, nox_permit_mg_h=None, turbines=None),
    "nox of turbines that are not there": power(nox_permit_mg_h=None, turbines=False),
    "workers": run(registered=0),
    "bias": evaluated(bias=None),
    "hallucination": evaluated(hallucination=None),
    "quality": evaluated(quality=None),
}


@pytest.mark.spec("COL-10")
@pytest.mark.parametrize("row", [*THRESHOLDS])
def test_each_threshold_fails_alone_and_holds_at_its_boundary(row: str) -> None:
    """What is measured beyond a limit blocks the promotion and is named alone; exactly at it the promotion goes on."""
    over, reason, at = THRESHOLDS[row]
    lane = Lane()
    lane.ready()
    lane.hear(over)
    assert {row: reason} == failing(lane.promote(target="staging"))
    lane.hear(at)
    assert isinstance(lane.promote(target="staging"), ModelPromoted)


@pytest.mark.spec("COL-10", "X-06")
@pytest.mark.parametrize("row", [*MISSED])
def test_what_was_not_measured_blocks(row: str) -> None:
    """A suite that measured no bias, a site without a reading or a permit: MISSING, and blocked."""
    lane = Lane()
    lane.ready()
    lane.hear(MISSED[row])
    assert failing(lane.promote(target="staging"))[row.partition(" ")[0]].startswith("MISSING")


@pytest.mark.spec("COL-10", "COL-16", "X-06")
@pytest.mark.parametrize("target", ["staging", "prod"])
def test_a_site_has_no_turbines_only_where_its_operator_says_so(target: Target) -> None:
    """Where nobody measured and nobody said anything NOx is missing, with what to say; said, the promotion goes on."""
    lane = Lane()
    lane.staged()
    lane.words(target=target)
    lane.hear(power(nox_mg_h=None, nox_permit_mg_h=None, turbines=None))
    blocked = lane.promote(target=target)
    assert {"nox": "MISSING_NOX"} == failing(blocked)
    assert ["<= permit, or energy_turbines none"] == [row.demanded for row in blocked.judgement.rows if not row.holds]
    lane.hear(power(nox_mg_h=None, nox_permit_mg_h=None, turbines=False))
    assert isinstance(lane.promote(target=target), ModelPromoted)


@pytest.mark.spec("COL-10", "COL-16")
def test_what_turbines_emit_counts_whatever_is_said_of_them() -> None:
    """A figure says that there are turbines, also where their operator says nothing, or that there are none."""
    for said in (None, False):
        lane = Lane()
        lane.ready()
        lane.hear(power(nox_mg_h=1_001, turbines=said))
        assert {"nox": "TOO_HIGH"} == failing(lane.promote(target="staging"))


@pytest.mark.spec("COL-10")
def test_evidence_about_another_model_is_none() -> None:
    """A second model is not promoted on what was measured of the first, nor on its proposal or signatures."""
    lane = Lane()
    lane.ready()
    lane.register(SECOND, SECOND_RECORD, "2")
    blocked = set(failing(lane.promote(SECOND, "staging")))
    assert {"bias", "hallucination", "quality", "suites", "proposal", "signatures"} == blocked


@pytest.mark.spec("COL-10", "ZER-02")
def test_a_proposal_of_another_run_is_none() -> None:
    """The AI voted by a run's curve; a proposal that names this model and another run is no word about this one."""
    lane = Lane()
    lane.register()
    for message in (verified(), verified(OTHER), evaluated(), power(), accepted(record="0" * 64)):
        lane.hear(message)
    lane.words(target="staging")
    assert {"proposal": "MISSING_PROPOSAL"} == failing(lane.promote(target="staging"))
    lane.hear(accepted(state="rejected"))
    assert {"proposal": "OTHER"} == failing(lane.promote(target="staging"))
    lane.hear(accepted(counts="void"))
    assert {"proposal": "OTHER"} == failing(lane.promote(target="staging"))


@pytest.mark.spec("COL-10", "ILL-06")
def test_a_suite_is_its_dataset_and_not_its_name() -> None:
    """Measured by another dataset under the same name, what was measured to be bad is still bad."""
    lane = Lane()
    lane.ready()
    lane.hear(evaluated(quality=100_000, bias=250_000, hallucination=150_000))
    lane.hear(evaluated(quality=1_000_000, bias=0, hallucination=0, dataset="7" * 64, report="8" * 64))
    blocked = failing(lane.promote(target="staging"))
    assert ("TOO_LOW", "TOO_HIGH", "TOO_HIGH") == tuple(
        blocked.get(name) for name in ("quality", "bias", "hallucination")
    )


@pytest.mark.spec("COL-10", "ILL-06")
def test_the_familys_own_suite_is_asked_for() -> None:
    """Whatever other suites found, without the product's own a model of the family is blocked."""
    lane = Lane()
    lane.register()
    for message in (verified(), verified(OTHER), power(), accepted(), evaluated(suite="mine 0123456789abcdef")):
        lane.hear(message)
    lane.words(target="staging")
    assert {"suites": "TOO_LOW"} == failing(lane.promote(target="staging"))


@pytest.mark.spec("COL-10", "X-06", "X-12")
def test_nothing_pushes_a_measurement_out() -> None:
    """Neither other notes nor other suites hide what was measured; beyond a bound nothing is noted, and all blocks."""
    lane = Lane()
    lane.ready()
    lane.hear(evaluated(bias=250_000, dataset="7" * 64))
    for number in range(2 * NOTES):
        lane.hear(verified(f"{number:064x}"))
    assert "TOO_HIGH" == failing(lane.promote(target="staging"))["bias"]
    assert len(lane.state.notes) <= NOTES + EVALUATIONS
    for number in range(EVALUATIONS - 3):
        lane.hear(evaluated(dataset=f"{number:064x}", suite=f"suite {number}"))
    assert "suites" not in failing(lane.promote(target="staging"))
    lane.hear(evaluated(dataset="8" * 64))
    assert "N009" == lane.hear(evaluated(dataset="9" * 64)).code
    assert "evaluation" == lane.hear(evaluated(bias=0, dataset="7" * 64)).evidence
    assert "MISSING_SUITES" == failing(lane.promote(target="staging"))["suites"]


@pytest.mark.spec("ILL-07")
def test_a_new_report_asks_for_new_words() -> None:
    """Words are about a manifest: measured again, with another report, a model has nobody's word any more."""
    lane = Lane()
    lane.staged()
    before = lane.manifest()
    lane.hear(evaluated(report="8" * 64))
    assert before != lane.manifest()
    assert {"signatures", *LEADS} == set(failing(lane.promote()))
    lane.words()
    assert isinstance(lane.promote(), ModelPromoted)


@pytest.mark.spec("ILL-07", "COL-11")
def test_a_word_is_one_voters_last_and_lives_fourteen_days() -> None:
    """A voter may take a pass back; after 14 days a pass is none; nobody speaks for another target."""
    lane = Lane()
    lane.staged()
    lane.word("safety_lead", "the_safety_lead", lane.manifest(), "fail")
    assert {"safety_lead": "MISSING_SAFETY_LEAD"} == failing(lane.promote())
    lane.word("safety_lead", "the_safety_lead", lane.manifest())
    lane.now_ms += 14 * DAY_MS
    lane.hear(power(taken_ms=lane.now_ms))
    assert isinstance(lane.promote(), ModelPromoted)
    lane.now_ms += 1_000
    assert {"signatures", *LEADS} == set(failing(lane.promote()))


@pytest.mark.spec("COL-16", "COL-10")
def test_power_ages() -> None:
    """A reading counts for 15 minutes from when it was taken, however late it was noted."""
    lane = Lane()
    lane.ready()
    lane.hear(power(taken_ms=NOW_MS - 60_000))
    lane.now_ms += 840_000
    assert isinstance(lane.promote(target="staging"), ModelPromoted)
    lane.now_ms += 1_000
    assert {"power_age_s": "TOO_HIGH"} == failing(lane.promote(target="staging"))


@pytest.mark.spec("COL-16", "COL-10")
@pytest.mark.parametrize("source", ["declared", "csv", "simulated"])
def test_what_goes_to_prod_rests_on_power_that_a_meter_measured(source: str) -> None:
    """What somebody declared, or recorded some day, is enough for staging and for prod it is none."""
    lane = Lane()
    lane.ready()
    lane.hear(power(source=source))
    assert isinstance(lane.promote(target="staging"), ModelPromoted)
    lane.words()
    assert {"power_measured": "NOT_SO"} == failing(lane.promote())
    lane.hear(power())
    assert isinstance(lane.promote(), ModelPromoted)


@pytest.mark.spec("ILL-07")
@pytest.mark.parametrize("why", ["facts", "proposal"])
def test_high_risk_takes_three_signers(why: str) -> None:
    """Where the model or its proposal is of high risk two signers are too few, the same one twice among them."""
    lane = Lane()
    lane.register(high_risk=why == "facts")
    risk = "high" if why == "proposal" else "low"
    for message in (verified(), verified(OTHER), evaluated(), power(), accepted(risk=risk)):
        lane.hear(message)
    lane.words(target="staging", signers=("sig", "nal", "sig"))
    assert {"signatures": "TOO_LOW"} == failing(lane.promote(target="staging"))
    lane.word("signer", "ler", lane.manifest(target="staging"))
    assert ["ler", "nal", "sig"] == lane.promote(target="staging").signatures


@pytest.mark.spec("ILL-07")
def test_what_goes_to_prod_stood_at_staging() -> None:
    """With every other word for prod a model that is not at staging is blocked, and named alone."""
    lane = Lane()
    lane.ready()
    lane.words()
    assert {"staged": "NOT_SO"} == failing(lane.promote())


@pytest.mark.spec("COL-10")
def test_a_worse_model_replaces_none() -> None:
    """What is in force is replaced only by what was measured to be as good; then it is deprecated."""
    lane = Lane()
    lane.ready()
    lane.promote(target="staging")
    lane.ready(SECOND, SECOND_RECORD, "2")
    lane.hear(evaluated(959_999, model=SECOND))
    assert {"not_worse": "TOO_LOW"} == failing(lane.promote(SECOND, "staging"))
    lane.hear(evaluated(960_000, model=SECOND))
    assert MODEL == lane.promote(SECOND, "staging").replaces
    assert ("deprecated", "staging") == (status_of(lane.state, MODEL), status_of(lane.state, SECOND))


@pytest.mark.spec("COL-02", "COL-10", "ILL-08")
@pytest.mark.parametrize(
    ("own", "default", "reason"),
    [
        (900_000, 900_000, ""),
        (810_000, 900_000, "TOO_LOW"),
        (990_000, None, "MISSING_NOT_WORSE"),
        (None, 900_000, "MISSING_NOT_WORSE"),
    ],
)
def test_the_first_toxicity_model_is_held_against_the_default(
    own: int | None, default: int | None, reason: str
) -> None:
    """Nothing is in force and something stands in: what that was measured to be is in the notes, and judged again."""
    lane = Lane()
    lane.hear(run(family="toxicity"))
    lane.hear(RegisterModel("toxicity", MODEL, facts()))
    beside = () if default is None else (Metric("quality", default, default, default, 100, ""),)
    lane.hear(evaluated(own, family="toxicity", suite="frames 1", default=beside))
    blocked = lane.hear(PromoteModel("toxicity", MODEL, "staging", "ada", False, ""))  # noqa: FBT003
    [row] = [row for row in blocked.judgement.rows if row.name == "not_worse"]
    assert (reason, not reason) == (row.reason, row.holds)
    assert ["same"] == [one.verdict for one in rejudged(lane.decided, Policies.shipped())]


@pytest.mark.spec("COL-10")
@pytest.mark.parametrize("found", [2**31, 2**63 - 1])
def test_a_number_that_no_policy_reads_was_not_measured(found: int) -> None:
    """A measure too large for any policy is missing, and so it blocks; nothing breaks."""
    lane = Lane()
    lane.ready()
    lane.hear(power(nox_mg_h=found, nox_permit_mg_h=found, power_kw=found))
    assert {"power_kw": "MISSING_POWER_KW", "nox": "MISSING_NOX"} == failing(lane.promote(target="staging"))


@pytest.mark.spec("ILL-07")
def test_what_is_to_be_signed_is_told_with_what_stands_against_it() -> None:
    """Asking for the manifest decides nothing and shows the whole table; of no model it is refused N004."""
    lane = Lane()
    lane.register()
    count = len(lane.decided)
    told = lane.hear(StateManifest(FAMILY, MODEL, "prod", emergency=False))
    assert isinstance(told, ManifestStated)
    assert lane.manifest() == told.manifest
    assert not told.judgement.allowed
    assert count == len(lane.decided)
    assert "N004" == lane.hear(StateManifest(FAMILY, SECOND, "prod", emergency=False)).code
    assert "N004" == lane.promote(SECOND).code


# Emergencies


def _emergency(*extra: str) -> Lane:
    """A model promoted by chief technology officer and safety lead alone."""
    lane = Lane()
    lane.register()
    for message in (verified(), verified(OTHER), evaluated(), power()):
        lane.hear(message)
    about = lane.manifest(emergency=True)
    roles: tuple[Role, ...] = ("cto", "safety_lead")
    for role in roles:
        lane.word(role, f"the_{role}", about)
    for name in extra:
        lane.word("signer", name, about)
    return lane


@pytest.mark.spec("COL-11", "ILL-07")
def test_an_emergency_waives_words_and_no_threshold() -> None:
    """Both words together put a model in force at once, marked as an emergency; a failed threshold still blocks."""
    lane = _emergency()
    lane.hear(evaluated(bias=250_000))
    assert {"bias": "TOO_HIGH"} == failing(lane.promote(emergency=True))
    lane.hear(evaluated())
    promoted = lane.promote(emergency=True)
    assert (True, NOW_MS + 48 * HOUR_MS, 3) == (
        promoted.emergency,
        promoted.ratify_by_ms,
        promoted.ratify_signatures,
    )


@pytest.mark.spec("COL-11")
@pytest.mark.parametrize("role", ["cto", "safety_lead"])
def test_neither_word_alone_is_an_emergency(role: Role) -> None:
    """Without one of the two words everything else that is missing blocks too."""
    lane = _emergency()
    lane.word(role, f"the_{role}", lane.manifest(emergency=True), "fail")
    assert f"override_{role}" in failing(lane.promote(emergency=True))
    assert "B002" == lane.hear(lane_request("")).code


def lane_request(reason: str) -> Message:
    """An emergency, for a reason."""
    return PromoteModel(FAMILY, MODEL, "prod", "ada", True, reason)  # noqa: FBT003


@pytest.mark.spec("ILL-07")
def test_an_emergency_that_nobody_ratified_rolls_back_after_48_hours() -> None:
    """At 48 hours it is still in force, a moment later a Tick takes it back and what was there before is restored."""
    lane = _emergency("sig", "nal")
    lane.promote(emergency=True)
    lane.now_ms += 48 * HOUR_MS
    assert lane.hear(TICK) is None
    assert "prod" == status_of(lane.state, MODEL)
    lane.now_ms += 1
    back = lane.hear(TICK)
    assert isinstance(back, ModelRolledBack)
    assert (MODEL, "prod", "") == (back.model, back.target, back.restores)
    assert back.reason.startswith("UNRATIFIED")
    assert "deprecated" == status_of(lane.state, MODEL)
    assert lane.hear(TICK) is None


@pytest.mark.spec("ILL-07")
def test_three_signers_ratify_an_emergency() -> None:
    """The third signer's word about the manifest in time is recorded as ratification, and nothing is taken back."""
    lane = _emergency("sig")
    lane.promote(emergency=True)
    lane.now_ms += 47 * HOUR_MS
    about = lane.manifest(emergency=True)
    assert "signature" == lane.word("signer", "nal", about).evidence
    assert "signature" == lane.word("signer", "other", "0" * 64).evidence
    assert "ratification" == lane.word("signer", "ler", about).evidence
    lane.now_ms += 30 * DAY_MS
    assert lane.hear(TICK) is None
    assert "prod" == status_of(lane.state, MODEL)


@pytest.mark.spec("ILL-07")
def test_words_that_come_too_late_ratify_nothing() -> None:
    """After its 48 hours an emergency is over, whoever signs."""
    lane = _emergency("sig", "nal")
    lane.promote(emergency=True)
    lane.now_ms += 48 * HOUR_MS + 1
    assert "signature" == lane.word("signer", "ler", lane.manifest(emergency=True)).evidence
    assert isinstance(lane.hear(TICK), ModelRolledBack)


@pytest.mark.spec("COL-11", "ILL-07")
def test_one_person_is_no_two_people() -> None:
    """Whoever is chief technology officer and safety lead declares no emergency alone, nor is anybody three leads."""
    lane = _emergency()
    about = lane.manifest(emergency=True)
    lane.word("cto", "the_cto", about, "fail")
    lane.word("cto", "the_safety_lead", about)
    assert "NOT_SO" == failing(lane.promote(emergency=True))["distinct_override"]
    lane = Lane()
    lane.staged()
    lane.word("safety_lead", "the_safety_lead", lane.manifest(), "fail")
    lane.word("safety_lead", "the_release_manager", lane.manifest())
    assert {"distinct_leads": "NOT_SO"} == failing(lane.promote())


@pytest.mark.spec("ILL-07")
def test_what_an_emergency_waits_for_is_told_by_its_decision() -> None:
    """How many signers, and until when, is what the policy said then, whatever it says elsewhere."""
    promoted = _emergency().promote(emergency=True)
    assert "unless 3 signers ratify it within 48 hours" in awaited(promoted)
    other = replace(promoted, ratify_signatures=5, ratify_by_ms=promoted.at_ms + 90 * 60_000)
    assert "unless 5 signers ratify it within 1.5 hours" in awaited(other)
    assert not awaited(replace(promoted, emergency=False))


@pytest.mark.spec("COL-11")
def test_an_approval_is_no_override() -> None:
    """What an emergency takes words about is another manifest than what a promotion takes them about."""
    lane = _emergency("sig")
    lane.word("safety_lead", "the_safety_lead", lane.manifest(emergency=True), "fail")
    lane.word("safety_lead", "the_safety_lead", lane.manifest())
    assert "MISSING_OVERRIDE_SAFETY_LEAD" == failing(lane.promote(emergency=True))["override_safety_lead"]
    told = lane.hear(StateManifest(FAMILY, MODEL, "prod", emergency=True))
    assert (lane.manifest(emergency=True), True) == (told.manifest, '"emergency":true' in told.text)


@pytest.mark.spec("COL-11", "ILL-07")
def test_an_emergency_is_not_declared_again() -> None:
    """A model that stands at a target gets no other 48 hours there, and what was ratified is not made to run out."""
    lane = _emergency("sig", "nal")
    lane.promote(emergency=True)
    lane.now_ms += 47 * HOUR_MS
    lane.hear(power(taken_ms=lane.now_ms))
    assert "N008" == lane.promote(emergency=True).code
    lane.word("signer", "ler", lane.manifest(emergency=True))
    assert "N008" == lane.promote(emergency=True).code
    there = lane.state.at("prod")
    assert there is not None
    assert (True, NOW_MS + 48 * HOUR_MS) == (there.ratified, there.ratify_by_ms)


@pytest.mark.spec("ILL-07")
def test_an_emergency_takes_nothing_out_of_what_was_before() -> None:
    """A model that was in force once, and is again in an emergency that runs out, keeps its earlier place."""
    lane = Lane()
    lane.staged()
    lane.promote()
    lane.staged(SECOND, SECOND_RECORD, "2")
    lane.promote(SECOND)
    for role in ("cto", "safety_lead"):
        lane.word(role, f"the_{role}", lane.manifest(emergency=True))
    assert isinstance(lane.promote(emergency=True), ModelPromoted)
    lane.now_ms += 48 * HOUR_MS + 1
    assert SECOND == lane.hear(TICK).restores
    assert MODEL == lane.hear(RollBackModel(FAMILY, "prod", "drift", "ada")).restores


# The verifier


@pytest.mark.spec("COL-11", "ILL-08")
def test_every_promotion_is_judged_the_same_again() -> None:
    """From the notes before them each promotion, blocked ones and emergencies too, comes out as the log says."""
    policies = Policies.shipped()
    for lane in (_emergency(), Lane()):
        lane.promote(emergency=True)
        lane.staged()
        lane.promote()
        lane.promote(SECOND)
        found = list(rejudged(lane.decided, policies))
        assert len(found) >= 2
        assert {"same"} == {one.verdict for one in found}


@pytest.mark.spec("COL-11", "ILL-08", "X-06")
@pytest.mark.parametrize("change", ["note", "row", "manifest", "policy"])
def test_a_promotion_that_its_notes_do_not_bear_is_found(change: str) -> None:
    """A note left out, a row made to hold, another manifest: found, with what differs; other policies are named so."""
    lane = Lane()
    lane.staged()
    made = lane.promote()
    before = lane.decided[:-1]
    verdict = "other"
    match change:
        case "note":
            before = [one for one in before if not (isinstance(one[0], EvidenceNoted) and one[0].evidence == "power")]
        case "row":
            made = replace(made, judgement=replace(made.judgement, rows=made.judgement.rows[1:]))
        case "manifest":
            made = replace(made, manifest="0" * 64)
        case _:
            made, verdict = replace(made, judgement=replace(made.judgement, policy="0" * 64)), "other_policies"
    last = list(rejudged([*before, (made, lane.index)], Policies.shipped()))[-1]
    assert (verdict, True) == (last.verdict, bool(last.detail))


# What was in force


@pytest.mark.spec("ILL-01")
def test_who_was_in_prod_at_any_time_is_exact() -> None:
    """For every index and every time the fold names what was in force: nothing, the first, the second, the first."""
    lane = Lane()
    places: dict[str, tuple[int, int]] = {}

    def mark(name: str) -> None:
        places[name] = (lane.index, lane.now_ms)
        lane.now_ms += HOUR_MS
        lane.hear(power(taken_ms=lane.now_ms))

    lane.staged()
    lane.promote()
    mark("first")
    lane.staged(SECOND, SECOND_RECORD, "2")
    lane.hear(power(taken_ms=lane.now_ms))
    lane.promote(SECOND, "prod")
    mark("second")
    lane.hear(RollBackModel(FAMILY, "prod", "it was worse", "ada"))
    mark("back")
    expected = {"first": MODEL, "second": SECOND, "back": MODEL}
    for name, (index, at_ms) in places.items():
        for family in (in_force(lane.decided, index=index), in_force(lane.decided, at_ms=at_ms)):
            there = family.at("prod")
            assert there is not None
            assert expected[name] == there.model
        before = in_force(lane.decided, index=index - 1).at("prod")
        earlier = in_force(lane.decided, at_ms=at_ms - 1).at("prod")
        previous = {"first": None, "second": MODEL, "back": SECOND}[name]
        assert previous == (before.model if before else None) == (earlier.model if earlier else None)


@pytest.mark.spec("ILL-07")
def test_rolling_back_needs_something_in_force_and_a_reason() -> None:
    """Where nothing is in force it is refused N005, without a reason B002; what is restored is named."""
    lane = Lane()
    lane.ready()
    assert "N005" == lane.hear(RollBackModel(FAMILY, "prod", "no", "ada")).code
    lane.promote(target="staging")
    assert isinstance(lane.hear(RollBackModel(FAMILY, "staging", " ", "ada")), Refusal)
    back = lane.hear(RollBackModel(FAMILY, "staging", "drift", "ada"))
    assert (MODEL, "", "drift") == (back.model, back.restores, back.reason)
    assert "deprecated" == status_of(lane.state, MODEL)
