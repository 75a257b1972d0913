"""From an upload's bytes to its verdict: received, validated, compared, audited, stored."""

from __future__ import annotations
