"""Checking a log from the outside: is it whole, is it what was signed, is it fresh, and by whom was it signed."""

from __future__ import annotations

from shared.audit.bundle import BundleSource as BundleSource
from shared.audit.bundle import verify_bundle as verify_bundle
from shared.audit.bundling import Snapshot as Snapshot
from shared.audit.bundling import write_bundle as write_bundle
from shared.audit.reading import Options as Options
from shared.audit.report import Bad as Bad
from shared.audit.report import Report as Report
from shared.audit.source import FolderSource as FolderSource
from shared.audit.source import LiveSource as LiveSource
from shared.audit.source import Source as Source
from shared.audit.verify import verify as verify
