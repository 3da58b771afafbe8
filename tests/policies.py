"""Inputs for the policies: one that each package allows, random ones, and a second engine that judges the same."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import msgspec
from regopy import Interpreter

from shared.policy import Policies
from shared.policy.policies import PolicyRow

DATASET, OTHER = "a" * 64, "b" * 64
ROLES = ("release_manager", "safety_lead", "infrastructure_lead")

Given = dict[str, Any]

QUALITY: Given = {"scored": True, "toxicity_ppm": 0, "language": "en", "wanted_language": "en", "characters": 5}
ENERGY: Given = {
    "power_kw": 200_000,
    "soc_ppm": 900_000,
    "minute": 720,
    "off_peak_from": 120,
    "off_peak_to": 360,
    "heavy": False,
}
SAFETY: Given = {"hallucination_ppm": 0, "bias_ppm": 0, "consensus_ppm": 1_000_000}
EXEMPTION: Given = {"exemption": "dev_tour", "environment": "dev", "action": "train", "steps": 500, "heavy": False}
LIGHT: Given = {"heavy": False, "steps": 2_000, "workers": 4}
TRAINING: Given = {
    "environment": "prod",
    "heavy": True,
    "steps": 10_000,
    "proposal": "accepted",
    "datasets": [
        {
            "dataset": DATASET,
            "kind": "posts",
            "use": "train",
            "licence": "CC0-1.0",
            "restrictions": ["attribution"],
            "pii": "none",
            "approved": [],
        },
    ],
}
PROMOTION: Given = {
    "environment": "prod",
    "family": "boundary",
    "target": "prod",
    "high_risk": False,
    "emergency": False,
    "power_kw": 240_000,
    "power_age_s": 30,
    "measured": True,
    "turbines": True,
    "nox_mg_h": 900,
    "nox_permit_mg_h": 1_000,
    "datasets": [DATASET, OTHER],
    "provenance": [
        {"dataset": DATASET, "merkle_valid": True, "anchored": True},
        {"dataset": OTHER, "merkle_valid": True, "anchored": True},
    ],
    "consensus_ppm": 1_000_000,
    "workers": 2,
    "quality_ppm": 960_000,
    "bias_ppm": 100_000,
    "hallucination_ppm": 50_000,
    "suites": ["reflexes 1"],
    "in_force": True,
    "in_force_quality_ppm": 950_000,
    "proposal": "accepted",
    "staged": True,
    "approvals": [{"role": role, "voter": f"the_{role}", "age_s": 60} for role in ROLES],
    "signatures": [{"role": "signer", "voter": "ada", "age_s": 60}],
}
#: What changes in it for a family with a default, while nothing is in force.
AGAINST_DEFAULT: Given = {
    "family": "toxicity",
    "suites": ["frames 1", "mine"],
    "in_force": False,
    "by_default": [
        {"suite": "frames 1", "quality_ppm": 960_000, "default_quality_ppm": 900_000},
        {"suite": "mine", "quality_ppm": 970_000, "default_quality_ppm": 950_000},
    ],
}
ALLOWED: dict[str, Given] = {
    "nimmerverse.data_quality": QUALITY,
    "nimmerverse.energy": ENERGY,
    "nimmerverse.training_safety": SAFETY,
    "nimmerverse.exemptions": EXEMPTION,
    "nimmerverse.light": LIGHT,
    "nimmerverse.training": TRAINING,
    "nimmerverse.promotion": PROMOTION,
}

#: Whole numbers at which something changes, and their neighbours.
TURNS = (
    *(0, 1, 4, 120, 360, 900, 1_439, 2_000, 10_000),
    *(150_000, 225_000, 250_000, 300_000, 400_000, 800_000, 900_000, 990_000),
)
EDGES = (*(turn + step for turn in TURNS for step in (-1, 0, 1)), 1_000_000, 1_209_600, 2**31 - 1, -(2**31) + 1)
OTHER_TEXTS = ("prod", "staging", "dev", "pilot", "CC-BY-NC-4.0")
#: What stands where it should not.
STRANGE = (None, "", "accepted", True, False, [], {}, 7, ["x"], [[]], [{}], {"role": 1})


def drawn(random: Random, value: Any) -> Any:  # noqa: ANN401, PLR0911 - whatever an input holds
    """A random variation of a value: mostly of its own kind, now and then missing or something strange."""
    if random.random() < 0.03:
        return random.choice(STRANGE)
    match value:
        case bool():
            return random.random() < 0.8
        case int():
            return random.choice(EDGES) if random.random() < 0.4 else value
        case str():
            return value if random.random() < 0.9 else random.choice(OTHER_TEXTS)
        case list():
            kept = [drawn(random, item) for item in value if random.random() < 0.95]
            return kept + kept[:1] * (random.random() < 0.1)
        case dict():
            return {name: drawn(random, item) for name, item in value.items() if random.random() < 0.97}
        case _:
            return value


def random_input(random: Random, package: str) -> Given:
    """An input that is often nearly right."""
    base = {**ALLOWED[package]}
    if package == "nimmerverse.promotion":
        base |= {"emergency": random.random() < 0.2, "high_risk": random.random() < 0.2}
        extra = [{"role": "cto", "voter": random.choice(("ada", "the_safety_lead")), "age_s": 5}] * (
            random.random() < 0.3
        )
        base["approvals"] = [*base["approvals"], *extra]
        base["signatures"] = [{"role": "signer", "voter": name, "age_s": 9} for name in "abcd"[: random.randrange(5)]]
        base |= AGAINST_DEFAULT if random.random() < 0.3 else {}
    if package == "nimmerverse.training":
        base |= {"exemption": "pilot"} if random.random() < 0.5 else {}
        every = ("pii", "weights", "licence:CC-BY-NC-4.0", "restriction:no-training")
        concerns = [concern for concern in every if random.random() < 0.5]
        odd = {"pii": random.choice(("none", "sealed")), "restrictions": random.choice(([], ["no-training"]))}
        odd["kind"] = random.choice(("posts", "weights"))
        base["datasets"] = [{**each, **odd, "approved": concerns} for each in base["datasets"]]
    return {name: drawn(random, value) for name, value in base.items() if random.random() < 0.99}


class SecondEngine:
    """The same files of Rego under another engine, which shares no code with the first."""

    def __init__(self, policies: Policies) -> None:
        self.interpreter = Interpreter()
        for name, text in policies.texts.items():
            self.interpreter.add_module(name, text)
        self.places = [
            f"{package.replace('.', '/')}/{rule}" for package in ALLOWED for rule in ("rows", "allow", "values")
        ]
        self.places = [p for p in self.places if p.rsplit("/", 1)[0] not in WITHOUT_VALUES or not p.endswith("values")]
        self.bundle = self.interpreter.build(None, self.places)

    def judge(self, package: str, given: Given) -> tuple[bool, list[PolicyRow], dict[str, object]]:
        """What the package says: allow, rows, values."""
        self.interpreter.set_input(given)  # pyright: ignore[reportArgumentType] - it takes what JSON has
        stem = package.replace(".", "/")
        allow, rows = self._ask(f"{stem}/allow"), self._ask(f"{stem}/rows")
        values = {} if stem in WITHOUT_VALUES else self._ask(f"{stem}/values")
        return allow, msgspec.convert(rows, list[PolicyRow]), values

    def _ask(self, place: str) -> Any:  # noqa: ANN401 - whatever a rule says
        return json.loads(str(self.interpreter.query_bundle_entrypoint(self.bundle, place)))["expressions"][0]


WITHOUT_VALUES = {f"nimmerverse/{name}" for name in ("data_quality", "exemptions", "light", "training")}


def disagreements(count: int, seed: int) -> tuple[list[str], int]:
    """Where two engines judge `count` random inputs differently, and how many were allowed."""
    policies, random = Policies.shipped(), Random(seed)
    second, found, allowed = SecondEngine(policies), list[str](), 0
    for n in range(count):
        package = list(ALLOWED)[n % len(ALLOWED)]
        given = random_input(random, package)
        judged = policies.evaluate(package, given)
        allowed += judged.allowed
        if second.judge(package, given) != (judged.allowed, list(judged.rows), judged.values):
            found.append(f"{package} of {given}")
    return found, allowed


if __name__ == "__main__":
    differing, passed = disagreements(int(sys.argv[1]), seed=5)
    sys.stdout.write("".join(f"{line}\n" for line in differing[:5]))
    sys.stdout.write(
        f"{sys.argv[1]} inputs, {passed} allowed, {len(differing)} judged differently by the two engines\n"
    )
