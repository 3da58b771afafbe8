"""The views this product keeps of its log, one file each; listed here, a view is kept, rebuilt and verified."""

from __future__ import annotations

from organs.records.view import View, check_views
from organs.records.views import calls, costs, decisions, keys, lanes, models, parts, promotions, trails, void_entries

VIEWS: tuple[View, ...] = check_views(
    (
        decisions.VIEW,
        keys.VIEW,
        parts.VIEW,
        void_entries.VIEW,
        trails.VIEW,
        costs.VIEW,
        calls.VIEW,
        lanes.VIEW,
        models.VIEW,
        promotions.VIEW,
    )
)
