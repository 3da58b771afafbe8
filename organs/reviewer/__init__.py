"""The reviewer: the AI's vote on proposals and their ethics, both computed from what the log recorded."""

from __future__ import annotations

from organs.reviewer.curve import CurveVote as CurveVote
from organs.reviewer.curve import vote_on as vote_on
from organs.reviewer.organ import ReviewerOrgan as ReviewerOrgan
