"""The family `curve` by hivemind: peers that train on shares of their own and average what they learned.

Peers find each other through a distributed hash table; the first one begins it. At the end the first peer shares its
weights there, each other peer holds them against its own, and takes them over only if they are nearly the same: then
all hold the same bytes, and can vote on them.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from organs.trainer.points import Pairs, batch_at, pairs_of
from organs.trainer.recipes import Given, Left, Teller
from organs.trainer.small_network import HIDDEN_UNITS, NAMES, RATE_PPM, SIZE, Going, leave
from shared.constant import constant
from shared.errors import Fault
from shared.training.jobs import BATCH, LEARNING_RATE, PPM
from shared.world import RealWorld

ROUND_STEPS = constant(10, "steps", "ZER-08")  # of each peer between two averagings
MEET_S = constant(60.0, "s", "ZER-08")  # for peers to find each other, and to share at the end
MATCH_S = constant(3.0, "s", "ZER-08")
NEAR = constant(
    0.2, "any", "ZER-08"
)  # how far two peers' weights may lie apart after averaging; one that diverged lies farther
PAUSE_S = 0.1
STEP_S = 0.2  #: the peers hear of each other's progress about twice a second
_KEY = "left"
_WORLD = RealWorld("worker")


def run(given: Given, tell: Teller) -> Left:
    """Train as one peer of several."""
    hivemind: Any = importlib.import_module("hivemind")
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    dht = _met(hivemind, given)
    try:
        return _trained(hivemind, torch, dht, given, tell)
    finally:
        dht.shutdown()


def _met(hivemind: Any, given: Given) -> Any:  # noqa: ANN401 - hivemind has no types
    """Return the hash table, begun by the first peer, joined by the others; on loopback, where the workers are."""
    how = {"host_maddrs": ["/ip4/127.0.0.1/tcp/0"], "start": True, "use_relay": False, "use_auto_relay": False}
    meeting = given.out.parent / f"meeting-{os.environ['MASTER_PORT']}"  # of this attempt alone
    if given.rank == 0:
        dht = hivemind.DHT(**how)
        draft = meeting.with_suffix(".draft")
        draft.write_text("\n".join(map(str, dht.get_visible_maddrs())))
        draft.replace(meeting)
        return dht
    return hivemind.DHT(initial_peers=_waited(meeting).split("\n"), **how)


def _waited(meeting: Path) -> str:
    until_s = _WORLD.elapsed_s() + MEET_S
    while not meeting.exists():
        if _WORLD.elapsed_s() > until_s:
            raise Fault(f"the first peer did not begin within {MEET_S:g} s")
        threading.Event().wait(PAUSE_S)
    return meeting.read_text()


def _trained(hivemind: Any, torch: Any, dht: Any, given: Given, tell: Teller) -> Left:  # noqa: ANN401 - no types
    spec = given.spec
    hyper = spec.hyperparameters
    pairs = pairs_of(given.data, spec)
    own, size = pairs[given.rank :: given.world_size], hyper.get(BATCH, SIZE)
    going = Going.begin(hyper.get("width", HIDDEN_UNITS), spec.seed)
    weights = {name: torch.nn.Parameter(torch.tensor(going.weights[name])) for name in NAMES}
    rate = hyper.get(LEARNING_RATE, RATE_PPM) / PPM
    optimiser = hivemind.Optimizer(
        dht=dht,
        run_id=f"curve-{spec.seed}",
        target_batch_size=size * given.world_size * ROUND_STEPS,
        batch_size_per_step=size,
        params=list(weights.values()),
        optimizer=partial(torch.optim.SGD, lr=rate, momentum=0.9),
        use_local_updates=False,
        matchmaking_time=MATCH_S,
        averaging_timeout=MEET_S,
        verbose=False,
    )
    try:
        _all_are(dht, given, "here")
        while going.step < spec.steps:
            loss = _loss(torch, weights, batch_at(own, going.step, size, spec.seed))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            going.losses.append(loss.item())
            going.step += 1
            tell.stepped(going.step, going.losses[-1], size)
            threading.Event().wait(STEP_S)
        going.weights = {name: weights[name].detach().numpy().copy() for name in NAMES}
        _share(dht, given.rank, going)
        left = leave(given, going, len(pairs))
        _all_are(dht, given, "done")
    finally:
        optimiser.shutdown()
    return left


def _loss(torch: Any, weights: dict[str, Any], batch: Pairs) -> Any:  # noqa: ANN401 - no types
    x, y = torch.tensor(batch[:, :1]), torch.tensor(batch[:, 1:])
    hidden = torch.tanh(x @ weights["in.weight"] + weights["in.bias"])
    return (hidden @ weights["out.weight"] + weights["out.bias"] - y).square().mean()


def _share(dht: Any, rank: int, going: Going) -> None:  # noqa: ANN401 - no types
    """Share what the first peer has; take it over where it is nearly one's own."""
    if rank == 0:
        said = json.dumps({"losses": going.losses}).encode()
        raw = len(said).to_bytes(8, "little") + said + save(going.weights)
        if not dht.store(_KEY, raw, expiration_time=_later()):
            raise Fault("the first peer could not share its weights")
        return
    raw = _found(dht, _KEY)
    end = 8 + int.from_bytes(raw[:8], "little")
    shared = load(raw[end:])
    apart = max(float(np.abs(shared[name] - going.weights[name]).max()) for name in NAMES)
    if not apart <= NEAR:
        raise Fault(f"after averaging the peers' weights lie {apart:.3g} apart, at most {NEAR:g} may be")
    going.weights = {name: shared[name] for name in NAMES}
    going.losses = json.loads(raw[8:end])["losses"]


def _all_are(dht: Any, given: Given, where: str) -> None:  # noqa: ANN401 - no types
    """Say that this peer is so far, and wait for all others to be: the table is left when nobody needs it."""
    dht.store(f"{where}-{given.rank}", b"yes", expiration_time=_later())
    for rank in range(given.world_size):
        _found(dht, f"{where}-{rank}")
    threading.Event().wait(1.0)  # the others look once more


def _found(dht: Any, key: str) -> bytes:  # noqa: ANN401 - no types
    until_s = _WORLD.elapsed_s() + MEET_S
    while True:
        found = dht.get(key, latest=True)
        if found is not None:
            return bytes(found.value)
        if _WORLD.elapsed_s() > until_s:
            raise Fault(f"a peer shared nothing within {MEET_S:g} s")
        threading.Event().wait(PAUSE_S)


def _later() -> float:
    """Return until when the table keeps what is shared, by hivemind's own clock."""
    clock: Any = importlib.import_module("hivemind.utils").get_dht_time
    return float(clock()) + 10 * MEET_S
