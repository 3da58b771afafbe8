"""The records organ: the log in, PostgreSQL views of it out."""

from __future__ import annotations

from organs.records.building import Compared as Compared
from organs.records.building import catch_up as catch_up
from organs.records.building import fill as fill
from organs.records.building import rebuild as rebuild
from organs.records.building import verify as verify
from organs.records.memory import MemoryRecords as MemoryRecords
from organs.records.organ import RecordsOrgan as RecordsOrgan
from organs.records.port import DatabaseRefused as DatabaseRefused
from organs.records.port import NewerViews as NewerViews
from organs.records.port import OutOfOrder as OutOfOrder
from organs.records.port import Records as Records
from organs.records.port import Redeclared as Redeclared
from organs.records.port import digest as digest
from organs.records.port import digests as digests
from organs.records.postgres import PostgresRecords as PostgresRecords
from organs.records.view import Change as Change
from organs.records.view import Column as Column
from organs.records.view import Table as Table
from organs.records.view import View as View
from organs.records.views import VIEWS as VIEWS
