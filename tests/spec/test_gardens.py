"""Asymmetric tracing: the virtual garden is kept for a while, of the real one turns and outcomes alone (NIM-08)."""

from __future__ import annotations

import pytest

from deploy.load import BUILT_IN, ON_REQUEST, find_part
from shared.part import Part, declaration
from shared.part.declare import Declaration
from shared.subjects.system import Decided, Heartbeat
from shared.world import SimWorld, simulate

PARTS = [find_part(name) for name in (*BUILT_IN, *ON_REQUEST)]
#: Who moves a body, keeps the log or gives an answer acts; who feels, compares and weighs explores.
VIRTUAL = {
    *("math_cell", "sensor_cell", "battery_cell", "distance_cell", "light_cell", "motor_cell"),
    *("energy_cell", "toxicity_cell"),
    *("overload", "meaning", "vision", "ears", "gate", "thalamus"),
}


def declared(cls: type[Part]) -> Declaration:
    """A part's declaration, its adapters simulated."""

    async def made() -> Declaration:
        return declaration(cls.simulate(SimWorld("dev", 1)))

    return simulate(made)


@pytest.mark.spec("NIM-08")
def test_every_part_lives_in_one_garden() -> None:
    """What explores is virtual, what acts is real; a part that comes to it is named here."""
    assert {cls.name for cls in PARTS if cls.garden == "virtual"} == VIRTUAL


@pytest.mark.spec("NIM-08", "NIM-09")
@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.name)
def test_each_message_is_kept_where_its_garden_says(cls: type[Part]) -> None:
    """Over every class that a part says: a decision stands in the log and nowhere else, a turn among the transitions;
    anything else is a trace where the part is virtual, and kept by nobody where it is real, personal or asked for.
    """
    part = declared(cls)
    traces, transitions = set(part.traces("dev")), set(part.transitions("dev"))
    if cls.garden == "real":
        assert set() == traces
    else:
        assert Heartbeat.pattern("dev").replace("*", cls.name) in traces
    for said in part.says:
        kept = [
            name for name, held in (("traces", traces), ("transitions", transitions)) if said.pattern("dev") in held
        ]
        if said.kind in {"decision", "request"} or said.confidential or said is Decided:
            assert [] == kept, said
        elif said.stream == "transitions":
            assert ["transitions"] == kept, said
        else:
            assert (["traces"] if cls.garden == "virtual" else []) == kept, said


@pytest.mark.spec("NIM-09")
def test_no_subject_is_kept_by_two_streams() -> None:
    """No two parts keep one subject, which the server would refuse."""
    kept = [pattern for cls in PARTS for pattern in (*declared(cls).traces("dev"), *declared(cls).transitions("dev"))]
    assert len(set(kept)) == len(kept)
