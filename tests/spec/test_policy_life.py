"""Added policies: effects in order, canaries by request, a life without jumps, and a wild one that falls back."""

from __future__ import annotations

import json
from itertools import permutations, product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.recheck import Rerun
from nerves.policy import PolicyNerve
from nerves.policy.life import COOLDOWN_MS, WATCHED, Life
from nerves.policy.nerve import NoWindow
from shared.codec import decode, encode
from shared.errors import Refusal
from shared.message import Decision, registered
from shared.policy import Policies
from shared.policy.effects import ORDER, final, sampled
from shared.subjects.policy import (
    CheckPolicy,
    DraftPolicy,
    Effect,
    MovePolicy,
    PolicyChecked,
    PolicyDrafted,
    PolicyEffect,
    PolicyMoved,
    PolicyState,
    PolicyStated,
    PolicyStatus,
)
from shared.world import now_ms
from tests.ground import ENV, Founded, Ground, play_sim
from tests.parts import stage

START_MS = 1_767_225_600_000
QUIET = """# No training at noon.
package nimmerverse.added.quiet

import rego.v1

rows := [data.nimmerverse.rows.at_most("noise", object.get(input, "noise", null), 40)]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)
"""


# Effects


@pytest.mark.spec("ILL-08")
def test_the_harshest_effect_is_final() -> None:
    """Deny before quarantine before remediate before allow, in whatever order they are said."""
    assert ("deny", "quarantine", "remediate", "allow") == ORDER
    for first, second in product(range(4), repeat=2):
        assert ORDER[min(first, second)] == final([ORDER[first], ORDER[second]])
    for order in permutations(ORDER):
        assert "deny" == final(order)


@pytest.mark.spec("ILL-08", "X-06")
@given(one=st.lists(st.sampled_from(ORDER)), other=st.lists(st.sampled_from(ORDER)))
def test_no_policy_takes_back_what_another_forbids(one: list[Effect], other: list[Effect]) -> None:
    """More policies never make the outcome milder, repeating them changes nothing, and none at all is a denial."""
    assert "deny" == final([])
    if one:
        assert ORDER.index(final([*one, *other])) <= ORDER.index(final(one))
        assert final(one) == final([*one, *one]) == final(reversed(one))


@pytest.mark.spec("ILL-08")
@pytest.mark.parametrize(
    ("request_id", "percent"),
    [("req-1", 57.944858), ("req-2", 65.075640), ("abc", 72.839491), ("0", 37.470886)],
)
def test_a_canary_draws_by_the_request(request_id: str, percent: float) -> None:
    """The source's own four requests are drawn at their percentages: out just below, in just above."""
    assert not sampled(request_id, round(percent * 10_000) - 1)
    assert sampled(request_id, round(percent * 10_000) + 1)


@pytest.mark.spec("ILL-08")
@given(request=st.text(min_size=1), share=st.integers(0, 999_999), more=st.integers(0, 1_000_000))
def test_a_growing_canary_keeps_its_requests(request: str, share: int, more: int) -> None:
    """Who is in a small share is in every larger one; a share of nothing has nobody."""
    assert not sampled(request, 0)
    assert not sampled(request, share) or sampled(request, min(share + more, 1_000_000))


@pytest.mark.spec("ILL-08")
def test_a_canary_s_share_is_its_share() -> None:
    """Of 20,000 requests, 5 % are drawn within half a percent."""
    drawn = sum(sampled(f"request {n}", 50_000) for n in range(20_000))
    assert 900 < drawn < 1_100


# The life


class Keeper:
    """One added policy under its nerve; every decision is made again from its evidence."""

    def __init__(self) -> None:
        self.nerve, self.state, self.now_ms = PolicyNerve(), Life(), START_MS
        self.decided: list[Decision] = []

    def hear(self, message: Any) -> Any:  # noqa: ANN401 - whatever it says
        """Decide about one message as the runner does, and evolve; the refusal, or what was said."""
        evidence = self.nerve.evidence(NoWindow(), message, bytes(16), self.now_ms)
        _, said = self.nerve.decide(self.state, NoWindow(), message, self.now_ms)
        if isinstance(said, Refusal):
            return said
        decided = [each for each in said if isinstance(each, Decision)]
        assert [encode(each) for each in decided] == PolicyNerve().decide_again(self.state, evidence, registered())
        for each in decided:
            self.state = self.nerve.evolve(self.state, each)
        self.decided += decided
        assert decode(Life, encode(self.state)) == self.state
        return said

    def draft(self, text: str = QUIET, effect: Effect = "quarantine") -> Any:  # noqa: ANN401 - as hear
        """Give the policy its text."""
        return self.hear(DraftPolicy("quiet", text, effect, "ada"))

    def move(self, state: PolicyState, share_ppm: int = 0) -> Any:  # noqa: ANN401 - as hear
        """Move it on."""
        return self.hear(MovePolicy("quiet", state, share_ppm, "as planned", "ada"))

    def check(self, noise: int, request: str = "r") -> Any:  # noqa: ANN401 - as hear
        """Ask it."""
        return self.hear(CheckPolicy("quiet", request, json.dumps({"noise": noise})))

    def up_to(self, state: PolicyState, share_ppm: int = 1_000_000) -> None:
        """Lead it up to a state, step by step."""
        self.draft()
        for step in ("simulating", "canary", "active"):
            assert not isinstance(self.move(step, share_ppm if step == "canary" else 0), Refusal)
            if step == state:
                return


@pytest.mark.spec("ILL-08")
@pytest.mark.parametrize(
    ("state", "effect"), [("simulating", "allow"), ("canary", "quarantine"), ("active", "quarantine")]
)
def test_a_policy_counts_as_far_as_its_state(state: PolicyState, effect: Effect) -> None:
    """Simulated it says what it would do and does nothing; as a canary and active it does; the log has every check."""
    keeper = Keeper()
    keeper.up_to(state)
    decision, reply = keeper.check(41)
    assert isinstance(decision, PolicyChecked)
    assert isinstance(reply, PolicyEffect)
    assert ("quarantine", effect, state) == (reply.says, reply.effect, reply.state)
    assert ["TOO_HIGH"] == [row.reason for row in decision.judgement.rows]
    assert (decision.says, decision.effect, decision.judgement) == (reply.says, reply.effect, reply.judgement)
    assert ("allow", "allow") == (keeper.check(40)[0].says, keeper.check(40)[0].effect)


@pytest.mark.spec("ILL-08", "X-06")
def test_what_cannot_be_judged_has_the_policy_s_effect() -> None:
    """An input without what the policy wants is not allowed; one that is no input is refused, undecided."""
    keeper = Keeper()
    keeper.up_to("active")
    assert "quarantine" == keeper.hear(CheckPolicy("quiet", "r", "{}"))[0].effect
    for text in ("", "[]", "{", '{"noise": 0.5}', '{"noise": 99999999999}', "[" * 5_000):
        assert "Q003" == keeper.hear(CheckPolicy("quiet", "r", text)).code


#: Up one step at a time; down as far as one likes.
STEPS: dict[PolicyState, set[PolicyState]] = {
    "draft": {"simulating", "deprecated"},
    "simulating": {"canary", "draft", "deprecated"},
    "canary": {"active", "canary", "simulating", "draft", "deprecated"},
    "active": {"canary", "draft", "deprecated"},
    "deprecated": set(),
}


@pytest.mark.spec("ILL-08")
@pytest.mark.parametrize(("before", "after"), [*product(STEPS, repeat=2)])
def test_no_step_of_a_life_is_skipped(before: PolicyState, after: PolicyState) -> None:
    """From each state exactly the listed ones follow; every other move is refused and changes nothing."""
    keeper = Keeper()
    keeper.draft()
    keeper.state = msgspec.structs.replace(keeper.state, state=before, share_ppm=50_000 if before == "canary" else 0)
    was = keeper.state
    said = keeper.move(after, 50_000 if after == "canary" else 0)
    if after in STEPS[before]:
        assert after == keeper.state.state
        return
    assert ("Q005", was) == (getattr(said, "code", said), keeper.state)


@pytest.mark.spec("ILL-08")
def test_only_a_draft_is_changed() -> None:
    """A policy that is asked keeps its text; back in draft, or deprecated, it may have another."""
    keeper = Keeper()
    keeper.up_to("active")
    assert "Q005" == keeper.draft().code
    keeper.move("draft")
    assert isinstance(keeper.draft(QUIET.replace("40", "50"))[0], PolicyDrafted)
    keeper.move("deprecated")
    assert "Q006" == keeper.check(1).code
    assert isinstance(keeper.draft()[0], PolicyDrafted)
    assert "draft" == keeper.state.state


@pytest.mark.spec("ILL-08", "X-06")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("package nimmerverse.added.quiet\nallow if {", "added.quiet.rego"),
        ("package nimmerverse.promotion\nimport rego.v1\nallow := true", "own"),
        ("package nimmerverse.added.other\nimport rego.v1\nallow := true", "nimmerverse.added.other"),
        ("package nimmerverse.added.quiet\nimport rego.v1\nallow if time.now_ns() > 0\nrows := []", "time.now_ns"),
        ("package nimmerverse.added.quiet\nimport rego.v1\nx := http.send({})", "http.send"),
        ("package nimmerverse.added.quiet\nimport rego.v1\nx := rand.intn(`a`, 2)", "rand."),
    ],
)
def test_what_is_no_added_policy_is_refused(text: str, found: str) -> None:
    """No Rego, another's package, or what asks for time, chance or the network: Q003, and there is no policy."""
    keeper = Keeper()
    said = keeper.draft(text)
    assert ("Q003", True) == (said.code, found in said.detail)
    assert Life() == keeper.state


@pytest.mark.spec("ILL-08")
def test_what_is_not_there_is_not_asked() -> None:
    """Before it is drafted there is nothing to move, to ask or to show; an effect of `allow` would be none."""
    keeper = Keeper()
    for said in (keeper.move("simulating"), keeper.check(1), keeper.hear(PolicyStatus("quiet"))):
        assert "Q006" == said.code
    assert "Q003" == keeper.draft(effect="allow").code
    keeper.draft()
    assert "Q006" == keeper.check(1).code, "nobody asks a draft"
    keeper.move("simulating")
    assert "Q005" == keeper.move("canary", 0).code, "a canary of nothing"
    [stated] = keeper.hear(PolicyStatus("quiet"))
    assert isinstance(stated, PolicyStated)
    assert ("simulating", QUIET, 0, 0) == (stated.state, stated.text, stated.asked, stated.objected)


@pytest.mark.spec("ILL-08")
def test_a_canary_has_a_say_in_its_share_alone() -> None:
    """Outside its share it says what it would do, and does nothing; only where it has a say is it counted."""
    keeper = Keeper()
    keeper.up_to("canary", 580_000)
    inside, outside = keeper.check(41, "req-1")[0], keeper.check(41, "req-2")[0]
    assert [("quarantine", "quarantine"), ("quarantine", "allow")] == [(x.says, x.effect) for x in (inside, outside)]
    keeper.check(1, "req-2")
    assert (True,) == keeper.state.objected


@pytest.mark.spec("ILL-08")
def test_a_canary_that_objects_too_much_falls_back() -> None:
    """More than 30 % of its last 50 requests: it is a draft again, by itself, and no canary for ten minutes."""
    keeper = Keeper()
    keeper.up_to("canary")
    for n in range(WATCHED):
        assert 2 == len(keeper.check(41 if n < 15 else 1)), "exactly 30 % is not more"
    assert "canary" == keeper.state.state
    for _ in range(20):
        keeper.check(1)
    said = [keeper.check(41) for _ in range(16)]
    assert [2] * 15 + [3] == [len(each) for each in said]
    fall = said[-1][1]
    assert isinstance(fall, PolicyMoved)
    assert ("canary", "draft", "") == (fall.before, fall.state, fall.by)
    assert "16 of its last 50" in fall.reason
    assert "draft" == keeper.state.state
    keeper.move("simulating")
    keeper.now_ms += COOLDOWN_MS - 1
    assert "Q005" == keeper.move("canary", 50_000).code
    keeper.now_ms += 1
    assert not isinstance(keeper.move("canary", 50_000), Refusal)


@pytest.mark.spec("ILL-08")
def test_a_simulated_and_an_active_one_do_not_fall() -> None:
    """Only a canary falls back by itself: what is simulated does nothing, what is active was looked at."""
    for state in ("simulating", "active"):
        keeper = Keeper()
        keeper.up_to(state)
        for _ in range(2 * WATCHED):
            keeper.check(41)
        assert state == keeper.state.state


@pytest.mark.spec("ILL-08", "X-06")
def test_an_added_policy_changes_nothing_of_the_product_s_own() -> None:
    """It is judged beside them; theirs are judged without it, under the same digest as ever."""
    before = Policies.shipped().digest
    keeper = Keeper()
    keeper.up_to("active")
    [drafted] = [each for each in keeper.decided if isinstance(each, PolicyDrafted)]
    checked = keeper.check(1)[0]
    assert drafted.digest == checked.judgement.policy != before == Policies.shipped().digest


@pytest.mark.spec("ILL-08", "X-02")
def test_a_life_over_the_bus_comes_out_of_its_evidence_again() -> None:
    """Drafted, moved and asked over the bus; the reply says where its decision stands, and the log runs again."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            founded = await Founded.on(ground)
            patterns = [cls.pattern(ENV) for cls in (PolicyDrafted, PolicyMoved, PolicyChecked)]
            signer = await founded.introduce("policy", *patterns)
            await here.carry(PolicyNerve(), [signer])
            asker = await here.asker("operator")
            await asker.request(DraftPolicy("quiet", QUIET, "deny", "ada"))
            await asker.request(MovePolicy("quiet", "simulating", 0, "to look", "ada"))
            answer = await asker.request(CheckPolicy("quiet", "r", '{"noise": 99}'))
            assert isinstance(answer, PolicyEffect)
            again, places = Rerun(PolicyNerve()), list[tuple[int, int]]()
            for verdict in await asker.follow(f"{ENV}.governance.policy.event.quiet"):
                assert all(same for _, same in again.take(verdict))
                places += [(verdict.entry.index, offset) for offset, _ in verdict.admitted()]
            assert (3, True) == (len(places), (answer.index, answer.offset) == places[-1])
            assert now_ms(ground.world) > 0

    play_sim(body)
