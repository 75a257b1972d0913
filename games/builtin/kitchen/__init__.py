"""Kitchen: rules, layouts, view, bot."""

from __future__ import annotations
