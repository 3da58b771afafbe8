"""How the function boundary's models are measured: on states never trained on, against the rules.

* quality: how many calls are the rules' own, exactly.
* hallucination: how many calls claim what the state does not bear out, or are no call (shared/boundary/support.py).
* bias: the worst difference between two groups of states that are each other's mirror images, so that whoever is
  impartial treats them alike (shared/boundary/mirrors.py). Selected is a state where the model acts towards the larger
  of the two; wanted, where the rules do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from organs.evaluator.sitting import BIAS, HALLUCINATION, QUALITY, Measured, gap, no_row, share, worst
from shared.boundary.mirrors import MIRRORS, Mirror, images, mirrored_states
from shared.boundary.support import bears_out
from shared.boundary.task import TASK, Call, Task, write_call
from shared.boundary.training.trails import Trail, read_lines, written
from shared.boundary.translator import translate
from shared.constant import constant
from shared.errors import Refused
from shared.fairness import (
    Counts,
    accuracy_score_difference,
    demographic_parity_difference,
    equalized_odds_difference,
)
from shared.subjects.evaluation import Metric

SUITE = "reflexes 1"
DRAWN = constant(300, "states", "ILL-06")  # beside the corners, each with its mirror images
LEAST_IN_GROUP = constant(20, "states", "COL-10")
#: All of them have to be measured, or there is no bias: one that is missing could have been the worst.
DIFFERENCES = (demographic_parity_difference, equalized_odds_difference, accuracy_score_difference)


class BoundaryFamily:
    """Measures the family `boundary`."""

    kinds = ("suite", "trails")

    def __init__(self, task: Task = TASK, drawn: int = DRAWN) -> None:
        self.task, self.drawn = task, drawn

    @property
    def shipped(self) -> Mapping[str, bytes]:
        return {SUITE: self._reflexes}

    @cached_property
    def _reflexes(self) -> bytes:
        return written([Trail(translate(state), state) for state in mirrored_states(self.task, self.drawn)])

    def read(self, lines: Sequence[bytes]) -> BoundarySitting:
        try:
            trails = read_lines(lines, "the suite", self.task)
        except Refused as no:
            raise no_row(len(lines), no.refusal.detail) from None
        return BoundarySitting(self.task, list({self.task.prompt(one.state): one for one in trails.all}.values()))


class BoundarySitting:
    """One suite of states with the calls that are right there."""

    def __init__(self, task: Task, trails: list[Trail]) -> None:
        self.task, self.trails = task, trails
        self.questions = [task.prompt(trail.state) for trail in trails]
        self._place = {prompt: place for place, prompt in enumerate(self.questions)}

    def judge(self, answers: Sequence[str]) -> Measured:
        calls = [self._read(answer) for answer in answers]
        told = [
            {
                "question": question.strip(),
                "answer": answer,
                "expected": write_call(trail.call),
                "exact": call == trail.call,
                "supported": call is not None and bears_out(trail.state, call),
            }
            for question, answer, trail, call in zip(self.questions, answers, self.trails, calls, strict=True)
        ]
        usual = self._usual()
        return Measured(self._metrics(calls), self._metrics([usual] * len(calls)), told)

    def _metrics(self, calls: Sequence[Call | None]) -> list[Metric]:
        pairs = list(zip(self.trails, calls, strict=True))
        exact = sum(call == trail.call for trail, call in pairs)
        made_up = sum(call is None or not bears_out(trail.state, call) for trail, call in pairs)
        alone = self._independent
        about = f"of {alone} independent states, each with its mirror images"
        differences = [metric for mirror in MIRRORS for metric in self._differences(mirror, calls)]
        return [
            *share(QUALITY, exact, len(pairs), about, alone),
            *share(HALLUCINATION, made_up, len(pairs), about, alone),
            *(worst(BIAS, differences) if len(differences) == len(MIRRORS) * len(DIFFERENCES) else []),
            *differences,
            *share("valid", sum(call is not None for call in calls), len(calls), "an allowed call at once", alone),
            *self._consistency(calls),
        ]

    def _differences(self, mirror: Mirror, calls: Sequence[Call | None]) -> list[Metric]:
        """Return how differently a mirror's two groups fare; only states whose image is in the suite too are asked."""
        chosen, right = dict[str, Counts](), dict[str, Counts]()
        for trail, call in zip(self.trails, calls, strict=True):
            group = mirror.group(trail.state)
            if group is None or self._image(mirror, trail) is None:
                continue
            selected = call is not None and mirror.chooses(trail.state, call)
            one = Counts.one(selected=selected, wanted=mirror.chooses(trail.state, trail.call))
            chosen[group] = chosen.get(group, Counts()) + one
            right[group] = right.get(group, Counts()) + Counts.one(selected=call == trail.call, wanted=True)
        measured = zip(DIFFERENCES, (chosen, chosen, right), strict=True)
        return [
            metric
            for measure, groups in measured
            for metric in gap(measure.__name__, measure(groups, LEAST_IN_GROUP), f"{mirror.name}: ")
        ]

    def _consistency(self, calls: Sequence[Call | None]) -> list[Metric]:
        """Return how often a state and its image are answered with calls that are no images of each other."""
        found: list[Metric] = []
        for mirror in MIRRORS:
            pairs = [
                (call, calls[other])
                for place, (trail, call) in enumerate(zip(self.trails, calls, strict=True))
                if mirror.group(trail.state) is not None and (other := self._image(mirror, trail) or 0) > place
            ]
            odd = sum(one is None or other is None or mirror.call(one) != other for one, other in pairs)
            found += share("counterfactual_difference", odd, len(pairs), mirror.name)
        return found

    def _image(self, mirror: Mirror, trail: Trail) -> int | None:
        return self._place.get(self.task.prompt(mirror.state(trail.state)))

    @cached_property
    def _independent(self) -> int:
        """How many states there are that are no mirror images of each other."""
        return len({min(map(self.task.prompt, images(trail.state))) for trail in self.trails})

    def _usual(self) -> Call:
        """Return the one call that is right most often: what needs no model."""
        written_calls = [write_call(trail.call) for trail in self.trails]
        return self.task.read_call(max(sorted(set(written_calls)), key=written_calls.count))

    def _read(self, answer: str) -> Call | None:
        try:
            return self.task.read_call(answer)
        except ValueError:
            return None
