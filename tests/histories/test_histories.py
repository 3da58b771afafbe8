"""Recorded logs replayed through today's parts: an old decision must come out again, or its difference must be seen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.recheck import Rerun
from nerves.overload import OverloadNerve
from nerves.overload import nerve as overload
from organs.records import VIEWS
from organs.records.view import changes_of
from shared.codec import decode
from shared.envelope import Verdict
from shared.subjects.nervous import LoadAssessed
from tests.histories import history

RECORDED = sorted(Path(__file__).parent.glob("*.history"))


#: The history that today's overload nerve decided; what another version decided is folded, and needs it to be repeated.
TODAY = Path(__file__).parent / "overload_1_1.history"


def differing(nerve: OverloadNerve, verdicts: list[Verdict]) -> tuple[int, list[str]]:
    """How many decisions were run again, and the versions that made those that came out differently."""
    rerun, run, odd = Rerun(nerve), 0, list[str]()
    for verdict in verdicts:
        for _, same in rerun.take(verdict):
            run += 1
            if not same:
                assert verdict.sealed is not None
                odd.append(verdict.sealed.attributes.version)
    return run, odd


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def verdicts(request: pytest.FixtureRequest) -> list[Verdict]:
    """A recorded history, judged by today's admission."""
    return history.judged(history.read(request.param))


@pytest.fixture(scope="module")
def todays() -> list[Verdict]:
    """The history that today's nerve decided, judged by today's admission."""
    return history.judged(history.read(TODAY))


@pytest.mark.spec("X-03")
def test_there_is_a_history_of_each_version() -> None:
    """A history of today's nerve is replayed, and one of the version before."""
    assert {"overload_1_0", "overload_1_1"} <= {path.stem for path in RECORDED}


@pytest.mark.spec("X-03")
def test_every_recorded_entry_is_admitted_today(verdicts: list[Verdict]) -> None:
    """What was admitted when it was recorded is admitted now."""
    assert [] == [(v.entry.index, no) for v in verdicts for _, no in v.void()]


@pytest.mark.spec("X-02")
def test_every_recorded_decision_comes_out_again(todays: list[Verdict]) -> None:
    """Today's nerve, run from the recorded evidence, makes the recorded decisions."""
    run, odd = differing(OverloadNerve(), todays)
    assert [] == odd
    assert run > 20


@pytest.mark.spec("X-02", "X-03")
def test_what_another_version_decided_is_folded_and_named(verdicts: list[Verdict]) -> None:
    """Whatever version decided, its decisions are the state they say; what comes out otherwise names its version."""
    rerun, levels = Rerun(OverloadNerve()), dict[str, str]()
    for verdict in verdicts:
        if rerun.take(verdict):
            for _, event in verdict.admitted():
                decided = decode(LoadAssessed, bytes(event.data))
                assert decided.before == levels.get(decided.site, "UNKNOWN")
                levels[decided.site] = decided.level
    assert levels == {site: state.level for site, state in rerun.states.items()}
    _, odd = differing(OverloadNerve(), verdicts)
    assert set(odd) <= {"1.0.0"}


@pytest.mark.spec("X-05")
def test_the_view_of_a_history_is_the_same_twice(verdicts: list[Verdict]) -> None:
    """The rows derived from a history depend on nothing but the history."""
    once, twice = (changes_of(VIEWS, verdicts) for _ in range(2))
    assert once == twice
    assert any(once.values())


@pytest.mark.spec("X-02")
def test_a_changed_threshold_is_caught(todays: list[Verdict], monkeypatch: pytest.MonkeyPatch) -> None:
    """A nerve whose rules changed makes other decisions from the old evidence, and the entries are named."""
    monkeypatch.setattr(overload, "LEVELS", (("OVERLOADED", 100_000, 950_000, 2_000_000),))
    _, odd = differing(OverloadNerve(), todays)
    assert odd


@pytest.mark.spec("X-08")
def test_a_planted_non_determinism_is_caught(todays: list[Verdict], monkeypatch: pytest.MonkeyPatch) -> None:
    """A nerve that reads anything but its arguments does not come out again."""
    calls, decided = count(), overload.assessed

    def assessed(*given: Any) -> Any:  # noqa: ANN401 - it stands in for the nerve's own
        return msgspec.structs.replace(decided(*given), span_ms=next(calls))

    monkeypatch.setattr(overload, "assessed", assessed)
    _, odd = differing(OverloadNerve(), todays)
    assert odd


@pytest.mark.spec("X-03")
@pytest.mark.parametrize(
    "tamper", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[:60] + b"\x00" + raw[61:]]
)
def test_a_flipped_byte_is_caught(verdicts: list[Verdict], tamper: Callable[[bytes], bytes]) -> None:
    """One byte changed in one recorded envelope makes that entry void, by name."""
    entries = [verdict.entry for verdict in verdicts]
    middle = len(entries) // 2
    chosen = entries[middle]
    entries[middle] = type(chosen)(chosen.index, chosen.subject, chosen.time_ns, tamper(chosen.raw))
    void = {v.entry.index: no.code for v in history.judged(entries) for _, no in v.void()}
    assert void[middle] in {"R002", "R005"}
