"""How good a catalogue is: how often it names the right label and region, and what it lets through or turns away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from organs.meaning.learning import FALSE_ESCALATION_PPM, Example
from organs.meaning.sensing import Sensed, Sensor
from organs.meaning.vector import COSINE_ONE_PPM
from shared.constant import constant
from shared.errors import ConfigFault
from shared.subjects.meaning import UNKNOWN

CONFUSIONS_SHOWN = constant(10, "confusions", "NIM-04")


class Confusion(msgspec.Struct, frozen=True):
    """So many texts of one label led to another."""

    label: str
    said: str
    texts: int


class Evaluation(msgspec.Struct, frozen=True):
    """What was found. Accuracies are of in-scope texts and ask what led, whether or not it was called unknown."""

    in_scope: int
    labels_right_ppm: int
    regions_right_ppm: int
    misled_ppm: int  #: in-scope texts for which a wrong region was said, instead of the right one or unknown
    false_escalation_ppm: int  #: in-scope texts that were called unknown
    out_of_scope: int
    recall_ppm: int  #: out-of-scope texts that were called unknown
    stated_ppm: int
    recall_at_stated_ppm: int  #: the same, were the threshold where this share of these in-scope texts is unknown
    confusions: tuple[Confusion, ...]  #: of labels, the most frequent first


def evaluate(sensor: Sensor, examples: Sequence[Example], stated_ppm: int = FALSE_ESCALATION_PPM) -> Evaluation:
    """Return how a catalogue judges examples; a label it does not know is out of scope. ConfigFault if all are."""
    region_of = {label.name: label.region for label in sensor.catalogue.labels}
    sensed = sensor.senses([one.vector for one in examples])
    pairs = list(zip(examples, sensed, strict=True))
    inside = [(one.label, found) for one, found in pairs if one.label in region_of]
    outside = [found for one, found in pairs if one.label not in region_of]
    if not inside:
        raise ConfigFault("no text has a label that this catalogue knows; evaluate it on texts of its own labels")
    right = sum(label == found.label for label, found in inside)
    led = sum(region_of[label] == found.candidates[0].region for label, found in inside if found.candidates)
    misled = sum(found.region not in (UNKNOWN, region_of[label]) for label, found in inside)
    wrong = Counter((label, found.label) for label, found in inside if label != found.label)
    scores = sorted(found.score_ppm for _, found in inside)
    threshold = scores[min(len(scores) - 1, len(scores) * stated_ppm // COSINE_ONE_PPM)]
    return Evaluation(
        len(inside),
        _share(right, len(inside)),
        _share(led, len(inside)),
        _share(misled, len(inside)),
        _share(_unknown([found for _, found in inside]), len(inside)),
        len(outside),
        _share(_unknown(outside), len(outside)),
        stated_ppm,
        _share(sum(found.score_ppm < threshold for found in outside), len(outside)),
        tuple(Confusion(*names, count) for names, count in sorted(wrong.items(), key=_most_first)[:CONFUSIONS_SHOWN]),
    )


def _unknown(found: Sequence[Sensed]) -> int:
    return sum(one.region == UNKNOWN for one in found)


def _share(part: int, whole: int) -> int:
    return part * COSINE_ONE_PPM // whole if whole else 0


def _most_first(item: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -item[1], item[0]
