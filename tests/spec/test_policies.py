"""What the policies say: every row alone, missing and at its boundary; total, fail closed, and alike in two engines."""

from __future__ import annotations

import re
import threading
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organs.evaluator.families import FAMILIES
from shared.errors import Refused
from shared.policy import ENGINE, Judged, Policies
from shared.policy.policies import MAX_INTEGER, PolicyRow
from shared.toxicity.measures import KEEP_PPM
from shared.training.votes import AGREEMENT_PPM
from tests.policies import (
    AGAINST_DEFAULT,
    ALLOWED,
    DATASET,
    ENERGY,
    EXEMPTION,
    LIGHT,
    OTHER,
    PROMOTION,
    QUALITY,
    ROLES,
    SAFETY,
    TRAINING,
    Given,
    disagreements,
)

POLICIES = Policies.shipped()
MISSING = object()


def judged(package: str, base: Given, **changes: Any) -> Judged:  # noqa: ANN401 - whatever an input holds
    """What a package says about an input with some fields changed, or taken out."""
    given = {name: value for name, value in {**base, **changes}.items() if value is not MISSING}
    return POLICIES.evaluate(f"nimmerverse.{package}", given)


def failing(found: Judged) -> dict[str, str]:
    """The rows that do not hold, with their reasons."""
    return {row.name: row.reason for row in found.rows if not row.holds}


def words(roles: tuple[str, ...] = ROLES, age_s: int = 60, **voters: str) -> list[dict[str, object]]:
    """Approvals, each of its own person where nobody is named."""
    return [{"role": role, "voter": voters.get(role, f"the_{role}"), "age_s": age_s} for role in roles]


def signers(*names: str, age_s: int = 60) -> list[dict[str, object]]:
    """Signatures."""
    return [{"role": "signer", "voter": name, "age_s": age_s} for name in names]


def proofs(**second: object) -> list[dict[str, object]]:
    """Two datasets' provenance, the second as told."""
    good = {"merkle_valid": True, "anchored": True}
    return [{"dataset": DATASET, **good}, {"dataset": OTHER, **good, **second}]


# The gate of promotion


#: row: (what makes it fail, its reason, what to leave out, the reason then)
GATE: dict[str, tuple[Given, str, tuple[str, ...], str]] = {
    "power_kw": ({"power_kw": 250_001}, "TOO_HIGH", ("power_kw",), "MISSING_POWER_KW"),
    "power_age_s": ({"power_age_s": 901}, "TOO_HIGH", ("power_age_s",), "MISSING_POWER_AGE_S"),
    "power_measured": ({"measured": False}, "NOT_SO", ("measured",), "MISSING_POWER_MEASURED"),
    "nox": ({"nox_mg_h": 1_001}, "TOO_HIGH", ("nox_mg_h",), "MISSING_NOX"),
    "merkle_valid": ({"provenance": proofs(merkle_valid=False)}, "NOT_SO", ("provenance",), "MISSING_MERKLE_VALID"),
    "anchored": ({"provenance": proofs(anchored=False)}, "NOT_SO", ("provenance",), "MISSING_ANCHORED"),
    "consensus": ({"consensus_ppm": 989_999}, "TOO_LOW", ("consensus_ppm",), "MISSING_CONSENSUS"),
    "workers": ({"workers": 1}, "TOO_LOW", ("workers",), "MISSING_WORKERS"),
    "bias": ({"bias_ppm": 250_000}, "TOO_HIGH", ("bias_ppm",), "MISSING_BIAS"),
    "hallucination": ({"hallucination_ppm": 150_000}, "TOO_HIGH", ("hallucination_ppm",), "MISSING_HALLUCINATION"),
    "quality": ({"quality_ppm": 899_999, "in_force": False}, "TOO_LOW", ("quality_ppm",), "MISSING_QUALITY"),
    "not_worse": ({"in_force_quality_ppm": 960_001}, "TOO_LOW", ("in_force_quality_ppm",), "MISSING_NOT_WORSE"),
    "suites": ({"suites": []}, "TOO_LOW", ("suites",), "MISSING_SUITES"),
    "target": ({"target": "production"}, "MISSING_TARGET", ("target",), "MISSING_TARGET"),
    "proposal": ({"proposal": "rejected"}, "OTHER", ("proposal",), "MISSING_PROPOSAL"),
    "staged": ({"staged": False}, "NOT_SO", ("staged",), "MISSING_STAGED"),
    "signatures": ({"signatures": []}, "TOO_LOW", ("signatures",), "MISSING_SIGNATURES"),
    **{
        role: ({"approvals": words(tuple({*ROLES} - {role}))}, f"MISSING_{role.upper()}", (), "")
        for role in ROLES
    },
    "distinct_leads": ({"approvals": words(safety_lead="the_release_manager")}, "NOT_SO", (), ""),
    "override_cto": (
        {"emergency": True, "approvals": words()},
        "MISSING_OVERRIDE_CTO",
        ("emergency",),
        "MISSING_EMERGENCY",
    ),
    "override_safety_lead": (
        {"emergency": True, "approvals": words(("cto", "release_manager", "infrastructure_lead")), "target": "staging"},
        "MISSING_OVERRIDE_SAFETY_LEAD",
        (),
        "",
    ),
    "distinct_override": (
        {"emergency": True, "approvals": words(("cto", *ROLES), cto="the_safety_lead")},
        "NOT_SO",
        (),
        "",
    ),
}  # fmt: skip
OVERRIDE = ("override_cto", "override_safety_lead", "distinct_override")
#: No word waives these.
THRESHOLDS = [*GATE][:14]


@pytest.mark.spec("COL-10", "COL-11", "ILL-07", "ZER-02")
def test_a_model_with_all_its_evidence_may_be_promoted() -> None:
    """Every row holds, and every row of the table is there."""
    found = judged("promotion", PROMOTION)
    assert found.allowed
    assert {} == failing(found)
    assert [*GATE][:-3] == [row.name for row in found.rows]
    assert found.refusal() is None


@pytest.mark.spec("COL-10", "ILL-06")
@pytest.mark.parametrize("row", [*GATE])
def test_each_row_of_the_gate_blocks_alone(row: str) -> None:
    """What fails one row blocks the promotion, and that row alone is named."""
    changes, reason, _, _ = GATE[row]
    found = judged("promotion", PROMOTION, **changes)
    assert {row: reason} == failing(found)
    assert not found.allowed
    refusal = found.refusal()
    assert refusal is not None
    assert ("Q004", True) == (refusal.code, row in refusal.detail)


@pytest.mark.spec("COL-10", "X-06")
@pytest.mark.parametrize("row", [name for name, (_, _, left_out, _) in GATE.items() if left_out])
def test_each_row_of_the_gate_blocks_where_nothing_was_found(row: str) -> None:
    """A measure, a client or a word that is missing never passes: the row says MISSING."""
    _, _, left_out, reason = GATE[row]
    found = judged("promotion", PROMOTION, **dict.fromkeys(left_out, MISSING))
    named = "emergency" if row == "override_cto" else row
    assert reason == failing(found).get(named)
    assert not found.allowed


@pytest.mark.spec("COL-10", "COL-12")
@pytest.mark.parametrize(
    ("row", "changes", "holds"),
    [
        ("power_kw", {"power_kw": 250_000}, True),
        ("power_kw", {"power_kw": 250_001}, False),
        ("bias", {"bias_ppm": 249_999}, True),
        ("bias", {"bias_ppm": 250_000}, False),
        ("hallucination", {"hallucination_ppm": 149_999}, True),
        ("hallucination", {"hallucination_ppm": 150_000}, False),
        ("consensus", {"consensus_ppm": 990_000}, True),
        ("consensus", {"consensus_ppm": 989_999}, False),
        ("nox", {"nox_mg_h": 1_000}, True),
        ("nox", {"nox_mg_h": 1_001}, False),
        ("not_worse", {"in_force_quality_ppm": 960_000}, True),
        ("quality", {"quality_ppm": 900_000, "in_force": False}, True),
        ("power_age_s", {"power_age_s": 900}, True),
        ("proposal", {"proposal": "under_review"}, False),
        ("signatures", {"signatures": signers("ada", age_s=14 * 86_400)}, True),
        ("signatures", {"signatures": signers("ada", age_s=14 * 86_400 + 1)}, False),
        ("safety_lead", {"approvals": words(age_s=14 * 86_400)}, True),
        ("safety_lead", {"approvals": words(age_s=14 * 86_400 + 1)}, False),
    ],
)
def test_the_gate_at_its_exact_boundaries(row: str, changes: Given, holds: bool) -> None:  # noqa: FBT001
    """Exactly 250 MW and 99 % pass, exactly 0.25 and 0.15 do not; approvals live 14 days."""
    found = judged("promotion", PROMOTION, **changes)
    assert holds == (row not in failing(found))


def beside(*qualities: tuple[object, object]) -> Given:
    """Suites by which a model and the default have these qualities, while nothing is in force."""
    names = ("quality_ppm", "default_quality_ppm")
    compared = [{name: ppm for name, ppm in zip(names, pair, strict=True) if ppm is not MISSING} for pair in qualities]
    return PROMOTION | AGAINST_DEFAULT | {"by_default": compared}


@pytest.mark.spec("COL-02", "COL-10")
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (PROMOTION | AGAINST_DEFAULT, ""),
        (beside((900_000, 900_000)), ""),
        (beside((899_999, 900_000)), "TOO_LOW"),
        (beside((990_000, 900_000), (899_999, 900_000), (810_000, 800_000)), "TOO_LOW"),
        (beside((960_000, MISSING)), "MISSING_NOT_WORSE"),
        (beside((960_000, 900_000), (960_000, "900000")), "MISSING_NOT_WORSE"),
        (beside((MISSING, 900_000)), "MISSING_NOT_WORSE"),
        (beside((960_000, -1)), "MISSING_NOT_WORSE"),
        (beside(), "MISSING_NOT_WORSE"),
        (beside() | {"by_default": [[960_000, 900_000]]}, "MISSING_NOT_WORSE"),
        (beside() | {"by_default": MISSING}, "MISSING_NOT_WORSE"),
        (beside((1, 900_000)) | {"in_force": True}, ""),
        (beside() | {"family": "boundary", "suites": ["reflexes 1"]}, ""),
    ],
)
def test_while_nothing_is_in_force_a_model_is_held_against_the_default(given: Given, reason: str) -> None:
    """By every suite it is at least as good as the default, and one that did not measure both is a denial."""
    assert reason == failing(judged("promotion", given)).get("not_worse", "")


@pytest.mark.spec("COL-10", "COL-11")
@pytest.mark.parametrize("seed", range(20))
def test_combinations_of_failures_are_named_whole(seed: int) -> None:
    """Whatever fails together, exactly those rows are named, and nothing hides another."""
    random = Random(seed)
    separate = [name for name in GATE if name not in (*ROLES, "distinct_leads", "anchored", "not_worse", *OVERRIDE)]
    chosen = random.sample(separate, random.randint(2, 6))
    changes: Given = {}
    for row in chosen:
        changes |= GATE[row][0]
    if "target" in chosen:
        assert {*chosen} == {*failing(judged("promotion", PROMOTION, **changes))}
        return
    assert {name: GATE[name][1] for name in chosen} == failing(judged("promotion", PROMOTION, **changes))


@pytest.mark.spec("ILL-07")
@pytest.mark.parametrize(
    ("high_risk", "names", "holds"),
    [
        (False, ("ada",), True),
        (True, ("ada", "bo"), False),
        (True, ("ada", "bo", "cy"), True),
        (True, ("ada", "bo", "ada", "bo"), False),
        (MISSING, ("ada",), False),
    ],
)
def test_high_risk_takes_three_signers(high_risk: object, names: tuple[str, ...], holds: bool) -> None:  # noqa: FBT001
    """One signature is enough, three different ones are where the risk is high or nobody said that it is not."""
    found = judged("promotion", PROMOTION, high_risk=high_risk, signatures=signers(*names))
    assert holds == found.allowed


@pytest.mark.spec("COL-11")
def test_staging_takes_no_lead() -> None:
    """The leads approve what goes to prod, on power that was measured; staging takes a proposal and a signature."""
    assert judged("promotion", PROMOTION, target="staging", measured=False).allowed
    assert judged("promotion", PROMOTION, target="staging", approvals=[], staged=False).allowed
    assert not judged("promotion", PROMOTION, target="prod", approvals=[]).allowed


EMERGENCY: Given = {
    "emergency": True,
    "approvals": words(("cto", "safety_lead")),
    "proposal": MISSING,
    "signatures": [],
}


@pytest.mark.spec("COL-11", "ILL-07")
def test_an_emergency_waives_words_and_says_which() -> None:
    """Chief technology officer and safety lead together waive approvals, proposal and signatures, by name."""
    found = judged("promotion", PROMOTION, **EMERGENCY)
    assert found.allowed
    assert ["proposal", "signatures", "release_manager", "infrastructure_lead"] == found.values["waived"]
    assert 48 * 3_600 == found.values["ratify_within_s"]


@pytest.mark.spec("COL-11")
@pytest.mark.parametrize(
    "approvals",
    [[], words(("cto",)), words(("safety_lead",)), words(("cto", "safety_lead"), age_s=48 * 3_600 + 1)],
)
def test_one_word_or_an_old_one_is_no_emergency(approvals: list[object]) -> None:
    """Neither of the two can override alone, and last week's approval is no override of today."""
    found = judged("promotion", PROMOTION, **{**EMERGENCY, "approvals": approvals})
    assert not found.allowed
    assert [] == found.values["waived"]


@pytest.mark.spec("COL-11")
@pytest.mark.parametrize(
    ("approvals", "allowed"),
    [
        (words(("cto", "safety_lead"), cto="ada", safety_lead="ada"), False),
        (words(("cto", "safety_lead"), cto="ada", safety_lead="bo"), True),
        ([*words(("cto", "safety_lead"), cto="ada", safety_lead="ada"), *words(("cto",), cto="bo")], True),
        ([{"role": role, "age_s": 5} for role in ("cto", "safety_lead")], False),
    ],
)
def test_nobody_alone_breaks_the_glass(approvals: list[object], allowed: bool) -> None:  # noqa: FBT001
    """One person in both roles is one person; it takes two, and a word that is nobody's is none."""
    assert allowed == judged("promotion", PROMOTION, **{**EMERGENCY, "approvals": approvals}).allowed


@pytest.mark.spec("COL-11")
def test_the_three_leads_are_three_people() -> None:
    """Whoever is two leads speaks as one of them; where enough others say it too, each lead is somebody else."""
    one = dict.fromkeys(ROLES, "ada")
    two = {**one, "safety_lead": "bo"}
    assert {"distinct_leads": "NOT_SO"} == failing(judged("promotion", PROMOTION, approvals=words(ROLES, 60, **one)))
    assert {"distinct_leads": "NOT_SO"} == failing(judged("promotion", PROMOTION, approvals=words(ROLES, 60, **two)))
    more = [*words(ROLES, 60, **two), *words(("release_manager",), release_manager="cy")]
    assert judged("promotion", PROMOTION, approvals=more).allowed


@pytest.mark.spec("COL-11", "COL-10")
@pytest.mark.parametrize("row", THRESHOLDS)
def test_an_emergency_waives_no_threshold(row: str) -> None:
    """A threshold that failed, and one that was not measured, block in an emergency too."""
    changes, _, left_out, _ = GATE[row]
    assert row in failing(judged("promotion", PROMOTION, **EMERGENCY | changes))
    assert row in failing(judged("promotion", PROMOTION, **EMERGENCY | dict.fromkeys(left_out, MISSING)))


@pytest.mark.spec("COL-10")
def test_turbines_are_believed_to_be_absent_only_where_that_is_said() -> None:
    """Without turbines there is no NOx to measure; where nobody says so, nothing measured is missing."""
    assert judged("promotion", PROMOTION, turbines=False, nox_mg_h=MISSING, nox_permit_mg_h=MISSING).allowed
    assert {"nox": "MISSING_NOX"} == failing(judged("promotion", PROMOTION, turbines=MISSING))
    assert {"nox": "MISSING_NOX"} == failing(judged("promotion", PROMOTION, nox_permit_mg_h=MISSING))


@pytest.mark.spec("COL-12", "COL-02", "COL-09")
def test_what_acts_by_a_limit_has_the_policys_number() -> None:
    """A text is dropped and a checkpoint agreed on at the numbers that the policies name."""
    assert (KEEP_PPM, AGREEMENT_PPM) == (POLICIES.limits["toxicity_ppm"], POLICIES.limits["consensus_ppm"])


@pytest.mark.spec("COL-10", "ILL-06")
@pytest.mark.parametrize(
    ("family", "suites", "reason"),
    [
        *((family, [suite], "") for family, known in FAMILIES.items() for suite in known.shipped),
        *((family, ["mine"], "TOO_LOW") for family, known in FAMILIES.items() if known.shipped),
        *((family, ["mine"], "") for family, known in FAMILIES.items() if not known.shipped),
        ("boundary", ["frames 1"], "TOO_LOW"),
        ("boundary", [7], "TOO_LOW"),
        ("language", [], "TOO_LOW"),
        (7, ["reflexes 1"], "MISSING_SUITES"),
    ],
)
def test_a_family_is_measured_by_the_products_own_suite(family: object, suites: list[object], reason: str) -> None:
    """Where the product has a suite of a family the gate asks for just that one, and elsewhere for any."""
    assert reason == failing(judged("promotion", PROMOTION, family=family, suites=suites)).get("suites", "")


@pytest.mark.spec("COL-10")
def test_every_dataset_of_a_model_is_proved() -> None:
    """One dataset without a word, a contradiction about one, or no dataset at all, block."""
    both = {"merkle_valid": "MISSING_MERKLE_VALID", "anchored": "MISSING_ANCHORED"}
    assert both == failing(judged("promotion", PROMOTION, provenance=proofs()[:1]))
    assert both == failing(judged("promotion", PROMOTION, datasets=[]))
    contradicted = [*proofs(), {"dataset": OTHER, "merkle_valid": False, "anchored": True}]
    assert {"merkle_valid": "NOT_SO"} == failing(judged("promotion", PROMOTION, provenance=contradicted))


@pytest.mark.spec("COL-10")
@pytest.mark.parametrize("name", ["bias_ppm", "consensus_ppm", "quality_ppm", "hallucination_ppm", "power_kw"])
@pytest.mark.parametrize("nonsense", [-1, "0", True, None, [], {}])
def test_what_is_no_measure_was_not_measured(name: str, nonsense: object) -> None:
    """A negative number, a text, a truth: each is a missing measure, not a small one."""
    found = judged("promotion", PROMOTION, **{name: nonsense})
    assert "MISSING_" in "".join(failing(found).values())


@pytest.mark.spec("COL-10")
def test_no_share_is_more_than_the_whole() -> None:
    """A consensus of 200 % is nonsense, not agreement."""
    assert {"consensus": "MISSING_CONSENSUS"} == failing(judged("promotion", PROMOTION, consensus_ppm=2_000_000))


# The others


@pytest.mark.spec("COL-12", "COL-02")
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, {}),
        ({"toxicity_ppm": 300_000}, {}),
        ({"toxicity_ppm": 300_001}, {"toxicity": "TOO_HIGH"}),
        ({"toxicity_ppm": 200_001, "keep_ppm": 200_000}, {"toxicity": "TOO_HIGH"}),
        ({"toxicity_ppm": 300_001, "keep_ppm": 900_000}, {"toxicity": "TOO_HIGH"}),
        ({"toxicity_ppm": MISSING}, {"toxicity": "MISSING_TOXICITY"}),
        ({"toxicity_ppm": MISSING, "scored": False}, {}),
        ({"toxicity_ppm": MISSING, "scored": MISSING}, {"toxicity": "MISSING_TOXICITY"}),
        ({"language": "de"}, {"language": "OTHER"}),
        ({"language": MISSING}, {"language": "MISSING_LANGUAGE"}),
        ({"wanted_language": ""}, {}),
        ({"wanted_language": MISSING}, {"wanted_language": "MISSING_WANTED_LANGUAGE"}),
        ({"characters": 0}, {"characters": "TOO_LOW"}),
        ({"characters": MISSING}, {"characters": "MISSING_CHARACTERS"}),
    ],
)
def test_what_a_post_has_to_be(changes: Given, reasons: dict[str, str]) -> None:
    """Up to 0.30 toxic, in the corpus's language, not empty; a corpus may ask for less toxicity, never for more."""
    assert reasons == failing(judged("data_quality", QUALITY, **changes))


@pytest.mark.spec("COL-12")
@pytest.mark.parametrize(
    ("changes", "reasons", "pause"),
    [
        ({}, {}, False),
        ({"hallucination_ppm": 149_999, "bias_ppm": 249_999, "consensus_ppm": 990_000}, {}, False),
        ({"hallucination_ppm": 150_000}, {"hallucination": "TOO_HIGH"}, False),
        ({"hallucination_ppm": 224_999}, {"hallucination": "TOO_HIGH"}, False),
        ({"hallucination_ppm": 225_000}, {"hallucination": "TOO_HIGH"}, True),
        ({"bias_ppm": 250_000}, {"bias": "TOO_HIGH"}, False),
        ({"consensus_ppm": 989_999}, {"consensus": "TOO_LOW"}, False),
        ({"consensus_ppm": 900_000}, {"consensus": "TOO_LOW"}, False),
        ({"consensus_ppm": 899_999}, {"consensus": "TOO_LOW"}, True),
        ({"consensus_ppm": MISSING}, {"consensus": "MISSING_CONSENSUS"}, True),
        ({"hallucination_ppm": MISSING}, {"hallucination": "MISSING_HALLUCINATION"}, True),
    ],
)
def test_what_a_run_has_to_show(changes: Given, reasons: dict[str, str], pause: bool) -> None:  # noqa: FBT001
    """Safe below the thresholds; it pauses at 0.225 hallucination or below 0.9 consensus, and where nobody measured."""
    found = judged("training_safety", SAFETY, **changes)
    assert (reasons, pause) == (failing(found), found.values["should_pause"])


IN_DEV: Given = {"heavy": False, "environment": "dev"}


def dataset(**changes: object) -> list[dict[str, object]]:
    """One dataset of a job."""
    return [{**TRAINING["datasets"][0], **changes}]


@pytest.mark.spec("ILL-03", "ILL-08", "ZER-05")
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, {}),
        ({"datasets": dataset(licence="CC-BY-NC-4.0")}, {"licence": "licence:CC-BY-NC-4.0"}),
        ({"datasets": dataset(licence="CC-BY-NC-4.0", approved=["licence:CC-BY-NC-4.0"])}, {}),
        ({"datasets": dataset(licence="unknown", approved=["licence:MIT"])}, {"licence": "licence:unknown"}),
        ({"datasets": dataset(licence=None)}, {"licence": "licence:MISSING"}),
        ({"datasets": dataset(restrictions=["no-training"])}, {"restrictions": "restriction:no-training"}),
        ({"datasets": dataset(restrictions=["non-commercial"])}, {"restrictions": "restriction:non-commercial"}),
        ({"datasets": dataset(restrictions=["export-control"])}, {"restrictions": "restriction:export-control"}),
        (
            {"datasets": dataset(restrictions=["no-training", "export-control"], approved=["restriction:no-training"])},
            {"restrictions": "restriction:export-control"},
        ),
        ({"datasets": dataset(restrictions=None)}, {"restrictions": "restriction:MISSING"}),
        ({"datasets": dataset(pii="sealed")}, {"pii": "pii"}),
        ({"datasets": dataset(pii="in_the_open", approved=["pii"])}, {}),
        ({"datasets": dataset(pii=None)}, {"pii": "pii"}),
        ({"datasets": dataset(use="evaluate")}, {"use": "use:evaluate"}),
        ({"datasets": dataset(kind="weights")}, {"origin": "weights"}),
        ({"datasets": dataset(kind="weights", approved=["weights"])}, {}),
        ({"datasets": dataset(kind=None)}, {"origin": "kind:MISSING"}),
        ({"proposal": "under_review"}, {"proposal": "NOT_ACCEPTED"}),
        ({"proposal": MISSING}, {"proposal": "MISSING_PROPOSAL"}),
        ({"proposal": MISSING, "exemption": "pilot"}, {"proposal": "NOT_EXEMPT"}),
        ({"proposal": MISSING, "exemption": "pilot", "heavy": False, "steps": 1_000}, {}),
        ({"proposal": MISSING, "exemption": "pilot", "heavy": False, "steps": 1_001}, {"proposal": "NOT_EXEMPT"}),
        ({"proposal": MISSING, "exemption": "dev_tour", "heavy": False, "steps": 2_000}, {"proposal": "NOT_EXEMPT"}),
        ({"proposal": MISSING, "exemption": "dev_tour", **IN_DEV, "steps": 2_000}, {}),
        ({"proposal": MISSING, "exemption": "dev_tour", **IN_DEV, "steps": 2_001}, {"proposal": "NOT_EXEMPT"}),
        ({"proposal": MISSING, "exemption": "mine", "heavy": False}, {"proposal": "NOT_EXEMPT"}),
    ],
)
def test_what_a_training_job_has_to_show(changes: Given, reasons: dict[str, str]) -> None:
    """Weights, licence, restriction, personal data each need an approval by that name; a proposal or an exemption."""
    assert reasons == failing(judged("training", TRAINING, **changes))


@pytest.mark.spec("COL-06", "COL-07", "X-06")
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, {}),
        ({"steps": 2_001}, {"steps": "TOO_HIGH"}),
        ({"workers": 5}, {"workers": "TOO_HIGH"}),
        ({"steps": 10_000, "workers": 64}, {"steps": "TOO_HIGH", "workers": "TOO_HIGH"}),
        ({"steps": 10_000, "workers": 64, "heavy": True}, {}),
        ({"steps": 2_001, "heavy": MISSING}, {"steps": "TOO_HIGH"}),
        ({"steps": 2_001, "heavy": "true"}, {"steps": "TOO_HIGH"}),
        ({"steps": MISSING}, {"steps": "MISSING_STEPS"}),
        ({"workers": None}, {"workers": "MISSING_WORKERS"}),
    ],
)
def test_what_a_light_job_is_its_submitter_does_not_decide(changes: Given, reasons: dict[str, str]) -> None:
    """Up to 2,000 steps and four workers a job is light; one beyond either has to say that it is heavy."""
    assert reasons == failing(judged("light", LIGHT, **changes))


@pytest.mark.spec("COL-07", "ZER-05")
@pytest.mark.parametrize(("exemption", "largest"), [("dev_tour", 2_000), ("pilot", 1_000)])
def test_what_is_exempt_is_light(exemption: str, largest: int) -> None:
    """The largest run that trains without a proposal may not be heavy, and need not be."""
    sizes = (1, 800, 1_000, 1_001, 2_000, 2_001, 10_000)
    exempt = [steps for steps in sizes if judged("exemptions", EXEMPTION, exemption=exemption, steps=steps).allowed]
    assert largest == exempt[-1]
    assert all(judged("light", LIGHT, steps=steps).allowed for steps in exempt)


@pytest.mark.spec("ILL-08", "X-06")
@pytest.mark.parametrize("datasets", [MISSING, [], None, "all", [7], [None]])
def test_a_job_without_datasets_shows_nothing(datasets: object) -> None:
    """No list, an empty one, or one of something else: nothing about licence or personal data holds."""
    assert {"datasets", "use", "origin", "licence", "restrictions", "pii"} == {
        *failing(judged("training", TRAINING, datasets=datasets))
    }


@pytest.mark.spec("ZER-05")
@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, set[str]()),
        ({"environment": "prod"}, {"environment"}),
        ({"action": "prod"}, {"action"}),
        ({"action": "staging"}, {"action"}),
        ({"heavy": True}, {"heavy"}),
        ({"steps": 2_000}, set[str]()),
        ({"steps": 2_001}, {"steps"}),
        ({"exemption": "unheard_of"}, {*EXEMPTION} - {"heavy"}),
        ({"exemption": MISSING}, {*EXEMPTION} - {"heavy"}),
        ({"exemption": "pilot", "environment": "prod", "steps": 1_000}, set[str]()),
    ],
)
def test_nothing_is_exempt_but_by_name(changes: Given, rows: set[str]) -> None:
    """An exemption holds for its environments, actions and sizes; none of them deploys anything."""
    assert rows == {*failing(judged("exemptions", EXEMPTION, **changes))}


@pytest.mark.spec("COL-11", "ZER-05")
def test_the_page_has_every_row_and_every_exemption(root: Path) -> None:
    """docs/policy.md is the one table of how thresholds, approvals and signatures compose: no row is left out of it."""
    page = (root / "docs" / "policy.md").read_text()
    rows = {row.name for emergency in (True, False) for row in judged("promotion", PROMOTION, emergency=emergency).rows}
    exempt = re.findall(r'^\t"(\w+)": \{', POLICIES.texts["exemptions.rego"], re.MULTILINE)
    assert [] == [name for name in (*rows, *exempt) if f"`{name}`" not in page]
    assert {"dev_tour", "pilot"} <= {*exempt}


# Total, and fail closed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1_300_000) | st.text(max_size=5) | st.sampled_from(["cto", "accepted"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.spec("COL-12", "X-06")
@pytest.mark.parametrize("package", [*ALLOWED])
@settings(max_examples=60)
@given(data=st.data())
def test_every_rule_is_total(package: str, data: st.DataObject) -> None:
    """Whatever stands in an input, every row is said, and the values that others rest on are there."""
    names = [*ALLOWED[package], "emergency", "exemption"]
    given = data.draw(st.dictionaries(st.sampled_from(names), JSON))
    whole = POLICIES.evaluate(package, ALLOWED[package])
    mixed = {**deepcopy(ALLOWED[package]), **given} if data.draw(st.booleans()) else given
    found = POLICIES.evaluate(package, mixed)
    assert "policy" not in {row.name for row in found.rows}, found.rows
    assert {*whole.values} == {*found.values}
    assert found.allowed == all(row.holds for row in found.rows)
    assert all(row.holds != bool(row.reason) for row in found.rows)


@pytest.mark.spec("X-06")
@pytest.mark.parametrize("package", [*ALLOWED])
def test_an_empty_input_is_denied_by_name(package: str) -> None:
    """Where nothing is known nothing passes, and what is missing is named."""
    found = POLICIES.evaluate(package, {})
    assert not found.allowed
    assert any(row.reason.startswith("MISSING_") for row in found.rows)


BROKEN = {
    "silent": "package nimmerverse.silent\nimport rego.v1\nx := 1",
    "half": "package nimmerverse.half\nimport rego.v1\nallow := true\nrows := [1 | input.never]",
    "undefined": "package nimmerverse.undefined\nimport rego.v1\nallow if input.never\nrows := []",
    "conflict": "package nimmerverse.conflict\nimport rego.v1\ndefault allow := true\nrows := []\nx := 1 if input.a\n"
    "x := 2 if input.a",
    "shape": 'package nimmerverse.shape\nimport rego.v1\nallow := true\nrows := [{"name": "a"}]',
    "text": 'package nimmerverse.text\nimport rego.v1\nallow := "true"\nrows := []',
    "contradicts": "package nimmerverse.contradicts\nimport rego.v1\nallow := true\n"
    'rows := [{"name": "a", "demanded": "b", "found": null, "holds": false, "reason": "no"}]',
}


@pytest.mark.spec("X-06", "ILL-08")
@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("silent", "Q001"),
        ("half", ""),
        ("undefined", "Q001"),
        ("conflict", "Q002"),
        ("shape", "Q001"),
        ("text", "Q001"),
        ("contradicts", ""),
        ("unheard_of", "Q001"),
    ],
)
def test_a_policy_that_cannot_answer_denies(package: str, code: str) -> None:
    """Undefined, without rows, in conflict with itself, of another shape, or absent: denied, and it says which."""
    policies = Policies({f"{name}.rego": text for name, text in BROKEN.items()})
    found = policies.evaluate(f"nimmerverse.{package}", {"a": True})
    assert not found.allowed
    assert [code] * bool(code) == [row.reason[:4] for row in found.rows if row.name == "policy"]


@pytest.mark.spec("X-06")
def test_what_cannot_be_read_is_no_policy() -> None:
    """A file that is no Rego is refused whole, by its name."""
    with pytest.raises(Refused, match=r"Q003.*half\.rego"):
        Policies({"half.rego": "package nimmerverse.half\nallow if {"})


@pytest.mark.spec("X-06")
@pytest.mark.parametrize(
    "value",
    [0.5, 1.0, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, b"x", {1: 2}, {"a"}, [[[[[[[[[[1]]]]]]]]]]],
)
def test_an_input_of_another_kind_is_refused(value: object) -> None:
    """No float, no number that an engine could round, no bytes: refused before any engine sees it."""
    with pytest.raises(Refused, match="Q003"):
        POLICIES.evaluate("nimmerverse.promotion", {**PROMOTION, "bias_ppm": value})


@pytest.mark.spec("COL-12", "ILL-08")
def test_two_engines_agree() -> None:
    """1,000 random inputs are judged alike, row by row; `python -m tests.policies 10000` tries as many as one likes."""
    differing, allowed = disagreements(1_000, seed=7)
    assert [] == differing
    assert 100 < allowed < 900, "both outcomes are among them"


# Evidence


@pytest.mark.spec("X-06", "COL-12")
def test_what_was_judged_can_be_judged_again() -> None:
    """Digests of policies and input, and the engine with its version, name a judgement; other policies refuse to."""
    found = judged("promotion", PROMOTION)
    assert (POLICIES.digest, ENGINE) == (found.policy, found.engine)
    assert found == POLICIES.again(found.policy, found.engine, found.package, PROMOTION)
    for digest, engine in (("0" * 64, ENGINE), (POLICIES.digest, "regorus 0.0.0")):
        with pytest.raises(Refused, match="Q003"):
            POLICIES.again(digest, engine, found.package, PROMOTION)


@pytest.mark.spec("X-06")
def test_digests_cover_every_byte() -> None:
    """Another text, another name and another input are another digest; the order of names is not."""
    texts = POLICIES.texts
    assert POLICIES.digest == Policies(dict(reversed(texts.items()))).digest
    assert POLICIES.digest != Policies({**texts, "rows.rego": texts["rows.rego"] + "\n"}).digest
    renamed = {name.replace("rows", "lines"): text for name, text in texts.items()}
    assert POLICIES.digest != Policies(renamed).digest
    backwards = dict(reversed(PROMOTION.items()))
    assert judged("promotion", PROMOTION).input_digest == judged("promotion", backwards).input_digest
    assert judged("promotion", PROMOTION).input_digest != judged("promotion", PROMOTION, power_kw=1).input_digest


@pytest.mark.spec("X-06")
def test_a_thread_of_its_own_judges_alike() -> None:
    """An engine belongs to its thread; another thread gets another engine and the same judgement."""
    said: list[Judged] = []
    thread = threading.Thread(target=lambda: said.append(judged("promotion", PROMOTION)))
    thread.start()
    thread.join()
    assert [judged("promotion", PROMOTION)] == said


@pytest.mark.spec("X-06")
def test_a_denial_leaves_nothing_behind() -> None:
    """After an engine failed, the same object judges the next input as ever."""
    policies = Policies({**POLICIES.texts, "conflict.rego": BROKEN["conflict"]})
    assert not policies.evaluate("nimmerverse.conflict", {"a": True}).allowed
    assert policies.evaluate("nimmerverse.promotion", PROMOTION).allowed
    assert PolicyRow("power_kw", "<= 250000", 250_001, holds=False, reason="TOO_HIGH") in (
        policies.evaluate("nimmerverse.energy", {**ENERGY, "power_kw": 250_001}).rows
    )
