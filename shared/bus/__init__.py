"""The bus: one behaviour over two wires, a real nats-server and a simulated one."""

from __future__ import annotations

from shared.bus import stock as stock  # before anything else imports nats-py
from shared.bus.bucket import Bucket as Bucket
from shared.bus.bus import Bus as Bus
from shared.bus.ledger import Context as Context
from shared.bus.ledger import Draft as Draft
from shared.bus.ledger import Receipt as Receipt
from shared.bus.signing import BusSigner as BusSigner
from shared.bus.signing import at_work as at_work
from shared.bus.wire import Delivery as Delivery
from shared.bus.wire import Outcome as Outcome
from shared.bus.wire import Wire as Wire
from shared.bus.wire import stream_name as stream_name
from shared.bus.writer import Writer as Writer
