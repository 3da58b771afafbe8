"""The records organ: the log in, a PostgreSQL view of it out."""

from __future__ import annotations

from organs.records.memory import MemoryRecords as MemoryRecords
from organs.records.organ import RecordsOrgan as RecordsOrgan
from organs.records.organ import catch_up as catch_up
from organs.records.organ import rebuild as rebuild
from organs.records.port import DecisionRow as DecisionRow
from organs.records.port import OutOfOrder as OutOfOrder
from organs.records.port import Records as Records
from organs.records.port import rows_of as rows_of
from organs.records.postgres import PostgresRecords as PostgresRecords
