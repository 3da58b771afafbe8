"""What the command line shows: coloured text for people, JSON for programs, one place that decides which."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.style import Style
from rich.text import Text

from shared.settings import Settings

#: The product's colour protocol: background by environment, colour by domain (NIM-21).
ENVIRONMENTS = {"dev": "dark_green", "staging": "dark_orange3", "prod": "blue3"}
DOMAINS = {"cognitive": "violet", "nervous": "cyan", "organs": "light_coral", "system": "grey62"}


class _Console(Console):
    """Leaves it to the command line how a command ends whose reader has read enough."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Terminal:
    """Prints for people on a terminal, and nothing but JSON when asked for it."""

    def __init__(self, settings: Settings | None, *, as_json: bool) -> None:
        self.as_json = as_json
        color = settings.color if settings else "auto"
        force = True if color == "always" else False if color == "never" else None
        self.console = _Console(force_terminal=force, no_color=color == "never", highlight=False, soft_wrap=True)

    @property
    def interactive(self) -> bool:
        """Whether a person can type and read here."""
        return sys.stdin.isatty() and sys.stdout.isatty() and not self.as_json

    def say(self, text: str | Text = "", style: str = "") -> None:
        """Print a line for people; programs do not get it."""
        if not self.as_json:
            self.console.print(text, style=style)

    def note(self, text: str) -> None:
        """Tell people beside the result, on standard error, so that a pipe stays clean."""
        if not self.as_json:
            sys.stderr.write(text + "\n")

    def give(self, value: object, text: str | Text | None = None) -> None:
        """Print a result: as one line of JSON when asked, else as text."""
        if self.as_json:
            sys.stdout.write(msgspec.json.encode(value, order="deterministic", enc_hook=_plain).decode() + "\n")
            sys.stdout.flush()
        else:
            self.console.print(text if text is not None else str(value), markup=False)


def subject_text(subject: str) -> Text:
    """Return a subject in the colours of its environment and domain."""
    env, _, rest = subject.partition(".")
    domain = rest.partition(".")[0]
    label = Text(f" {env} ", Style(bgcolor=ENVIRONMENTS.get(env, "grey23"), color="white"))
    return label.append(" ").append(rest, Style(color=DOMAINS.get(domain, "white"), bgcolor="default"))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
