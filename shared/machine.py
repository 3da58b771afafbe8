"""What the machine says of the work that is done on it: a port with a real and a simulated adapter (NIM-10).

Energy is read where Linux reports it (RAPL, /sys/class/powercap); elsewhere, and where only root may read it, it is
None, which is not zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from shared.constant import constant

POWERCAP = constant("/sys/class/powercap", "folder", "NIM-10")
_WHOLE: Final = "psys"  #: the zone of the whole board, which holds the others again


class Machine(Protocol):
    """Whatever can be asked what work costs here."""

    def energy_uj(self) -> int | None:
        """Return the energy that processors and memory have used since some start, in microjoules; None: unreported."""
        ...

    def busy_us(self) -> int:
        """Return the processor time that the whole machine has spent working, in microseconds."""
        ...

    def worked_us(self, pid: int) -> int | None:
        """Return the processor time of one process so far, in microseconds; None where it is gone."""
        ...


class ThisMachine:
    """The machine this process runs on. `powercap` is where it reports energy."""

    def __init__(self, powercap: Path = Path(POWERCAP)) -> None:
        self._zones = [_Zone(folder) for folder in _zones(powercap)]

    def energy_uj(self) -> int | None:
        read = [zone.read() for zone in self._zones]
        known = [zone for zone in read if zone is not None]
        return sum(known) if known and len(known) == len(read) else None

    def busy_us(self) -> int:
        import psutil

        times = psutil.cpu_times()
        waiting = times.idle + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # they are in user and nice too
        return round(1e6 * (sum(times) - waiting - guests))

    def worked_us(self, pid: int) -> int | None:
        import psutil

        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            return None
        return round(1e6 * (times.user + times.system))


class SimMachine:
    """A simulated machine: `watts` while it works, all the time; without them it reports no energy."""

    def __init__(self, watts: int | None = None) -> None:
        self.watts, self.worked = watts, dict[int, int]()
        self.busy = 0

    def energy_uj(self) -> int | None:
        return None if self.watts is None else self.busy * self.watts

    def busy_us(self) -> int:
        return self.busy

    def worked_us(self, pid: int) -> int | None:
        return self.worked.get(pid)


class _Zone:
    """One counter of energy, which begins again at 0 after its range."""

    def __init__(self, folder: Path) -> None:
        self._counter, self._range = folder / "energy_uj", folder / "max_energy_range_uj"
        self._last: int | None = None
        self._before = 0

    def read(self) -> int | None:
        try:
            now = int(self._counter.read_text())
            if self._last is not None and now < self._last:
                self._before += int(self._range.read_text())
        except (OSError, ValueError):
            return None
        self._last = now
        return self._before + now


def _zones(powercap: Path) -> list[Path]:
    """Return the zones that together are all that is reported, each once: packages, and the memory beside them."""
    found = list[Path]()
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
        except OSError:
            continue
        package = folder.name.count(":") == 1 and name != _WHOLE
        if package or name == "dram":
            found.append(folder)
    return found
