"""`soak`: an organism of its own under load and faults, and what it came to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.commands.task import finish
from deploy.soak.outcome import Outcome
from deploy.soak.plan import schedule
from deploy.soak.siege import Soak
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import ConfigFault, Exit
from shared.files import storing

MINUTE_S = 60.0


def soak(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Let an organism live under load while everything is struck; 0 only if nothing failed that could be judged."""
    seconds = args.minutes * MINUTE_S
    strikes = schedule(args.seed, seconds)
    _check_plot(args.plot)

    def lived(folder: Path) -> Outcome:
        return finish(Soak(loaded.settings.env, folder, seconds, strikes, seed=args.seed, say=terminal.note).run())

    if args.folder is not None:
        folder: Path = args.folder.absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigFault(f"--folder {folder} is not empty; a soak begins a log of its own, give it another folder")
        out = lived(folder)
    else:
        with TemporaryDirectory(prefix="nimmerverse-soak-") as name:
            out = lived(Path(name))
    if args.plot is not None:
        from deploy.soak.picture import svg

        with storing(args.plot):
            args.plot.write_text(svg(out), encoding="utf-8")
    terminal.give(out.as_json(), "\n".join([*(line.text for line in out.lines), out.summary]))
    return Exit.FAILED if out.failed else Exit.OK


def _check_plot(plot: Path | None) -> None:
    if plot is not None and not plot.absolute().parent.is_dir():
        raise ConfigFault(
            f"--plot {plot}: there is no folder {plot.absolute().parent}; make it or choose another place"
        )
