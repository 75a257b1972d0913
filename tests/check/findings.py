"""What a check found, but for how slow the machine was meanwhile."""

from __future__ import annotations

from typing import Any

from rollgym.checking.safety import Finding, Report


def findings(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if not finding.code.startswith("slow_")]


def json_findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in report["findings"] if not finding["code"].startswith("slow_")]
