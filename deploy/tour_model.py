"""The middle of the tour: text becomes datasets, two workers train a model, the gate blocks a poor one, people and an
AI agree on a good one, and the boundary loads exactly what was promoted.

Every request has an identity of its own in the log, so a tour that was cut short goes on where it stood.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from cells.toxicity_cell.scorer import NoScorer, Scorer, default_scorer
from deploy.asking import asked
from deploy.commands.ingest import ports_of
from deploy.families import Known
from deploy.host import OPERATOR
from deploy.people import voice
from deploy.promoting import decision_at, gather, noted, registration
from deploy.proving import proved_post
from deploy.tour_audit import StepFailed, hold
from organs.provenance.ingest import Ended, Ingest, Plan
from organs.provenance.lines import Bytes
from organs.provenance.post import Source
from organs.provenance.python_text import LICENCE, PythonText, name
from organs.provenance.readers import TrailLines
from organs.provenance.remembering import folder_of
from shared.artifacts import ArtifactStore, store_of
from shared.ballots import signed_ballot
from shared.boundary.task import TASK
from shared.boundary.training.trails import made_up, written
from shared.bus import Bus, Draft
from shared.config import Loaded
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.files import private_folder, write_private
from shared.home import Keys, place
from shared.policy import Policies
from shared.registry import in_force
from shared.registry.holding import holding, teaching
from shared.registry.lineage import Lineage
from shared.registry.promoted import EXEMPTIONS, standing_in
from shared.subjects.boundary import BoundaryStated, BoundaryStatus
from shared.subjects.consensus import (
    MakeProposal,
    ProposalFacts,
    ProposalStated,
    ProposalStatus,
    Role,
    TrainingData,
)
from shared.subjects.evaluation import EvaluateModel, EvaluationDone
from shared.subjects.people import IntroducePerson
from shared.subjects.provenance import Intake, Reader
from shared.subjects.registry import ManifestStated, ModelPromoted, PromoteModel, PromotionBlocked, StateManifest
from shared.subjects.system import Decided, Granted
from shared.subjects.training import JobSpec, JobStated, JobStatus, SubmitJob
from shared.training.jobs import ENDED, job_of
from shared.vault import people_of
from shared.world import World, new_id, now_ms

EXEMPTION = "dev_tour"
FAMILY, SUITE, TARGET = "boundary", "reflexes 1", "staging"
YOU = constant("you", "person", "ZER-02")  #: whose key the tour makes in this home, and votes with
TRAILS = constant(8_000, "trails", "NIM-14")
TOUR_STEPS = constant(800, "steps", "NIM-14")
TOO_FEW_STEPS = constant(40, "steps", "COL-10")
#: A small network: half a minute on one core, and well above what the gate demands.
SMALL = {"width": 64, "inner": 128, "layers": 1, "heads": 4, "head": 16, "learning_rate_ppm": 8_000, "batch": 64}
TRAIN_S = constant(900.0, "s", "ILL-02")
VOTED_S = constant(60.0, "s", "X-07")
LOOK_S = 0.1
FIRST = "0"  #: the id of the first trail: the byte at which it begins
PPM = 1_000_000

Work = Callable[[], Awaitable[str]]


class Teacher:
    """Takes the way from posts to a promoted model. Owns what the steps hand on to each other."""

    def __init__(self, bus: Bus, keys: Keys, loaded: Loaded, say: Callable[[str], None]) -> None:
        self.bus, self.keys, self.loaded, self.say = bus, keys, loaded, say
        self.world = bus.world
        self.store = store_of(loaded.settings, self.world)
        self.trails = self.good = self.record = self.without = ""
        self.seed = 1

    async def steps(self, *, anew: bool) -> list[tuple[str, Work]]:
        """Return the steps in order: those of a training, or those that check what is in force here."""
        await self.store.prepare()
        decided = (await Known.read(self.bus)).decisions.get(FAMILY, [])
        self.seed = 1 + sum(isinstance(decision, ModelPromoted) for decision, _ in decided)
        standing = standing_in(in_force(decided), self.bus.env, now_ms(self.world))
        if standing is not None and not anew:
            self.good = standing.model
            return [("ingest", self._ingest), ("load", self._load), ("trace", self._trace)]
        self.without = self._why_not()
        if self.without:
            return [("ingest", self._ingest), ("train", self._untrained)]
        steps = [("train", self._train), ("block", self._block), ("vote", self._vote), ("promote", self._promote)]
        return [("ingest", self._ingest), *steps, ("load", self._load), ("trace", self._trace)]

    # Posts

    async def _ingest(self) -> str:
        """Take in real text by the usual rules, and decision trails for the boundary."""
        text = await self._taken(
            f"cpython-{platform.python_version()}", "text", _python, default_scorer(), LICENCE, "en"
        )
        file = place(self.loaded.settings) / "tour" / "trails.jsonl"
        private_folder(file.parent)
        write_private(file, written(made_up(TASK, TRAILS, seed=1).all))
        trails = await self._taken("tour-trails", "trails", partial(_trails, file, self.world), NoScorer())
        self.trails = trails.stated.dataset
        tally = text.stated.tally
        unread, void = f"{tally.language} not seen to be English", tally.empty + tally.duplicate
        dropped = f"{tally.toxic} toxic, {unread}, {void} empty or double"
        return (
            f"{text.stated.posts} paragraphs of CPython's own text: {tally.kept} kept, {dropped}; and "
            f"{trails.stated.posts} trails; {text.stated.batches + trails.stated.batches} batches under signed roots"
        )

    async def _taken(  # noqa: PLR0913, PLR0917 - a corpus has as many rules as it has
        self,
        corpus: str,
        reader: Reader,
        source: Callable[[int], Awaitable[Source]],
        scorer: Scorer,
        licence: str = "LicenseRef-own",
        language: str = "",
    ) -> Ended:
        about = name() if reader == "text" else "rules of the boundary"
        intake = Intake(reader, about, licence, [], language, 300_000, scorer.name, Policies.shipped().digest)
        plan = Plan(corpus, intake, source, "train", folder_of(self.loaded.settings, corpus))
        people = people_of(self.loaded.settings, self.world)
        ended = await Ingest(plan, ports_of(self.bus, self.store, people, scorer), lambda _: None).run()
        hold(ended.finished and ended.registered is None, f"{corpus} is no dataset yet: {ended.registered}")
        return ended

    # Training and the gate

    async def _untrained(self) -> str:
        return f"skipped: {self.without}"

    def _why_not(self) -> str:
        """Return why nothing can be trained here; empty where it can."""
        asked_for = {"exemption": EXEMPTION, "environment": self.bus.env, "action": "train", "steps": TOUR_STEPS}
        if not Policies.shipped().evaluate(EXEMPTIONS, asked_for | {"heavy": False}).allowed:
            return (
                f"in {self.bus.env} nothing trains without an accepted proposal; the policy exempts a tour in dev alone"
            )
        if importlib.util.find_spec("torch") is None:
            return "nothing trains without PyTorch; `./run train --help` says how it is installed"
        return ""

    async def _train(self) -> str:
        """Have two workers train a model, and vote on every checkpoint of it."""
        trained = await self._trained(TOUR_STEPS)
        self.good, self.record = trained.model, trained.record
        quality = await self._measured(trained, "good")
        return (
            f"two workers agree on every checkpoint; model {self.good[:16]}… is exact in {quality / PPM:.1%} of states"
        )

    async def _block(self) -> str:
        """Train far too little, and see the gate refuse that with every reason."""
        poor = await self._trained(TOO_FEW_STEPS)
        await self._measured(poor, "poor")
        blocked = await self._judged(poor.model)
        hold(isinstance(blocked, PromotionBlocked), f"a model of {TOO_FEW_STEPS} steps was promoted: {blocked}")
        rows = [f"{row.name} {row.found} {row.reason}" for row in blocked.judgement.rows if not row.holds]
        return f"a candidate of {TOO_FEW_STEPS} steps is blocked: {'; '.join(rows)}"

    async def _trained(self, steps: int) -> JobStated:
        """Submit a job and wait for its end; submitted before, it is the same job."""
        spec = JobSpec(
            family=FAMILY,
            recipe="boundary_recipe 1.0.0",
            backend="torch",
            datasets=[self.trails],
            base="",
            hyperparameters=SMALL,
            seed=self.seed,
            steps=steps,
            workers=2,
            heavy=False,
            reason="the tour",
            proposal=EXEMPTION,
        )
        answer = await self.bus.request(SubmitJob(spec, OPERATOR))
        if isinstance(answer, Refusal) and answer.code != "T012":
            raise Refused(answer)
        job, said = job_of(spec, OPERATOR), -1
        stated = await asked(self.bus, JobStatus(job), JobStated)
        give_up = self.world.elapsed_s() + TRAIN_S
        while stated.state not in ENDED:
            if self.world.elapsed_s() > give_up:
                raise StepFailed(f"job {job} is {stated.state} after {TRAIN_S:g} s: {stated.reason}")
            if stated.step * 4 // steps > said:
                said = stated.step * 4 // steps
                self.say(f"  training: step {stated.step} of {steps}")
            await self.world.sleep(LOOK_S)
            stated = await asked(self.bus, JobStatus(job), JobStated)
        hold(stated.state == "completed", f"job {job} is {stated.state}: {stated.reason}")
        return stated

    async def _measured(self, trained: JobStated, what: str) -> int:
        """Measure a model and register it; return its quality in millionths."""
        done = await asked(self.bus, EvaluateModel(trained.model, FAMILY, SUITE), EvaluationDone, TRAIN_S)
        version = f"tour-{what}-{trained.record[:12]}"
        about = await registration(self.bus, trained.model, version, "the tour", high_risk=False, watermark="")
        answer = await self.bus.request(about)
        if isinstance(answer, Refusal) and answer.code != "N002":  # registered by a tour before
            raise Refused(answer)
        return next(metric.ppm for metric in done.metrics if metric.name == "quality")

    async def _judged(self, model: str) -> ModelPromoted | PromotionBlocked:
        """Gather fresh evidence, ask for the promotion, and return what was decided."""
        await gather(self.bus, FAMILY, [self.trails], self.loaded.settings.site, self.say)
        placed = await asked(
            self.bus, PromoteModel(FAMILY, model, TARGET, OPERATOR, emergency=False, reason=""), Decided
        )
        return await decision_at(self.bus, placed)

    # Votes

    async def _vote(self) -> str:
        """Propose the model; the AI votes from the loss curve that was recorded, and a person after it."""
        await self._introduced()
        proposal = f"tour-{self.good[:16]}"
        training = TrainingData(FAMILY, TOUR_STEPS, [self.trails], "torch", SMALL["learning_rate_ppm"], SMALL["batch"])
        summary = "Let the boundary's model, trained in the tour, be in force at staging"
        facts = ProposalFacts("the tour", summary, "", "upgrade", "low", training, self.record, self.good, FAMILY)
        answer = await self.bus.request(MakeProposal(proposal, facts, None))
        if isinstance(answer, Refusal) and answer.code != "G003":
            raise Refused(answer)
        stated = await self._stands(proposal, lambda one: one.ai != "pending", "the AI's vote")
        hold(stated.ai == "pass", f"the AI says {stated.ai}: {stated.votes}")
        if stated.human == "pending":
            await self._cast("human", proposal, "measured, compared, and wanted")
        stated = await self._stands(proposal, lambda one: one.human != "pending", "the person's vote")
        hold(stated.state == "accepted", f"proposal {proposal} is {stated.state}: {stated.votes}")
        votes = "; ".join(stated.votes)
        return f"proposal {proposal} is accepted: {votes}; the tour votes for {YOU}, by a key of this home"

    async def _promote(self) -> str:
        """Sign what the promotion rests on, and promote."""
        await gather(self.bus, FAMILY, [self.trails], self.loaded.settings.site, self.say)
        stated = await asked(self.bus, StateManifest(FAMILY, self.good, TARGET, emergency=False), ManifestStated)
        await self._cast("signer", stated.manifest, "the manifest is what was measured", family=FAMILY)
        decided = await self._judged(self.good)
        no = [f"{row.name} {row.reason}, expected {row.demanded}" for row in decided.judgement.rows if not row.holds]
        hold(isinstance(decided, ModelPromoted), f"the good model is blocked: {'; '.join(no)}")
        rows = f"{len(decided.judgement.rows)} rows of the gate hold"
        manifest = f"manifest {stated.manifest[:16]}… signed with that key"
        return f"{rows}; {manifest}; {self.good[:16]}… is in force at {TARGET}"

    async def _introduced(self) -> None:
        """Have the log know a person of this home, who may vote and sign."""
        roles: list[Role] = ["human", "signer"]
        signer = self.keys.signer(YOU, YOU)
        asked_for = IntroducePerson(YOU, roles, signer.key_id, signer.public, self.keys.nkey(YOU))
        await asked(self.bus, asked_for, Granted)

    async def _cast(self, role: Role, about: str, reason: str, family: str = "") -> None:
        signer = self.keys.signer(YOU, YOU)
        ballot = signed_ballot(signer, role, YOU, about, "pass", reason, family=family)
        async with voice(self.loaded, YOU, signer) as own:
            receipt = await own.append(Draft(ballot, new_id(own.world)))
        if family:
            there = await noted(self.bus, family, [(receipt.index, receipt.offset)])
            hold(there, f"the registry did not note the signature at {receipt.index}")

    async def _stands(self, proposal: str, holds: Callable[[ProposalStated], bool], what: str) -> ProposalStated:
        give_up = self.world.elapsed_s() + VOTED_S
        while True:
            stated = await asked(self.bus, ProposalStatus(proposal), ProposalStated)
            if holds(stated):
                return stated
            if self.world.elapsed_s() > give_up:
                raise StepFailed(f"waited {VOTED_S:g} s for {what} on {proposal}")
            await self.world.sleep(LOOK_S)

    # What is in force

    async def _load(self) -> str:
        """See the boundary speak with exactly the promoted digest."""
        give_up = self.world.elapsed_s() + VOTED_S
        stated = await asked(self.bus, BoundaryStatus(), BoundaryStated)
        while (stated.model, stated.state) != (self.good, "ready"):
            if self.world.elapsed_s() > give_up:
                raise StepFailed(f"the boundary has {stated.model or 'no model'}, {stated.state}: {stated.reason}")
            await self.world.sleep(LOOK_S)
            stated = await asked(self.bus, BoundaryStatus(), BoundaryStated)
        return f"the boundary read {self.good[:16]}… whole, found it promoted in the log, and speaks with it"

    async def _trace(self) -> str:
        return await traced(self.store, (await Known.read(self.bus)).lineage, self.good)


async def traced(store: ArtifactStore, lineage: Lineage, model: str) -> str:
    """Walk from a model back to one post under a root that the log holds, and from that post forward to the model.

    Refused C008, D005; StepFailed.
    """
    proved, sealed = await proved_post(store, None, lineage, model, FIRST)
    held = await holding(store, lineage, lambda line: line.id == FIRST, [proved.dataset])
    taught = lineage.forward(teaching(held))
    hold(model in {one.model for one in taught}, f"the post {FIRST} does not lead forward to {model[:16]}…")
    leaf = f"leaf {proved.index} of {proved.size} under root {proved.root[:16]}…"
    return f"the first trail is {leaf}, which the log holds at {sealed.index}; that trail taught {len(taught)} models"


async def _python(offset: int) -> Source:
    return PythonText(offset)


async def _trails(file: Path, world: World, offset: int) -> Source:
    return TrailLines(Bytes(file, offset), world.elapsed_s)
