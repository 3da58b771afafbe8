"""The page on checking a log says what the commands do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.usage import each_command

pytestmark = pytest.mark.spec("X-04")


def test_the_page_says_how_to_get_the_verifier_separately(root: Path) -> None:
    """Verifier and fingerprint come from elsewhere than the bundle, and every command that is named exists."""
    page = (root / "docs" / "verify.md").read_text()
    assert "`nimmerverse audit verifier > verify.py`" in page
    assert "from somewhere else than the bundle" in page
    named = {f"audit {word}" for word in re.findall(r"audit ([a-z-]+)", page)}
    shown = {"bundle", "verifier", "verify", "prove", "check-proof", "diff", "export"}
    assert {f"audit {word}" for word in shown} <= named & each_command().keys()
