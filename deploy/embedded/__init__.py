"""Embedded mode: the real NATS server and the real PostgreSQL as children of this process, out of wheels."""

from __future__ import annotations

from deploy.embedded.accounts import Account as Account
from deploy.embedded.accounts import Identity as Identity
from deploy.embedded.accounts import Member as Member
from deploy.embedded.accounts import StorageLimits as StorageLimits
from deploy.embedded.child import Child as Child
from deploy.embedded.child import Patience as Patience
from deploy.embedded.child import Program as Program
from deploy.embedded.lock import FolderLock as FolderLock
from deploy.embedded.nats import NatsServer as NatsServer
from deploy.embedded.nats import find_nats_server as find_nats_server
from deploy.embedded.postgres import Postgres as Postgres
