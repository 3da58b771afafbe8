"""The thalamus nerve: verified signals in; routes, escalations and the account of each beat out."""

from __future__ import annotations

from nerves.thalamus.nerve import ThalamusNerve as ThalamusNerve
