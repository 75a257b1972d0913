"""What a check says: one entry for everything that must hold, findings, and the verdict."""

from __future__ import annotations

from msgspec import Struct

from rollgym.checking.cost import Cost

SAFE, UNSAFE, UNCHECKED = "safe", "not safe", "could not be checked"
"""The three verdicts."""


class Check(Struct, frozen=True):
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str = ""
    """The first difference, in words."""
    cause: str = ""
    """What experiments showed of where it comes from, and what to do."""
    frame: int | None = None
    path: str | None = None
    """The field of the state, or the part of what was given out, that differs first."""
    first: str | None = None
    again: str | None = None
    code: str = ""
    """A name for machines that stays."""


class Finding(Struct, frozen=True):
    """Something to know. The list of them is for machines as well as for readers."""

    code: str
    severity: str
    """``fails``: it cannot be played safely. ``unchecked``: nothing could be found out. ``needs``: it plays with the
    settings that are named. ``note``: it does no harm."""
    text: str
    next: str = ""
    """What to do."""
    frame: int | None = None
    path: str | None = None


class Report(Struct, frozen=True):
    """What was found out about a game."""

    game: str
    verdict: str
    """``safe``, ``not safe`` or ``could not be checked``."""
    checks: list[Check]
    findings: list[Finding] = []
    """All that is not as it should be or worth knowing, failed checks included, in the order it was found."""
    version: str = ""
    agents: list[str] = []
    players: int = 0
    snapshot: str = ""
    """How its state is saved: ``own``, ``copy``, ``native`` or ``replay``."""
    fps: float = 0.0
    episodes: int = 0
    frames: int = 0
    rollbacks: int = 0
    cost: Cost | None = None
    ok: bool = False
    """Whether the verdict is ``safe``."""

    @property
    def notes(self) -> list[str]:
        """The texts of what does no harm."""
        return [finding.text for finding in self.findings if finding.severity == "note"]


def as_finding(check: Check) -> Finding:
    """A failed check among the findings."""
    return Finding(check.code, "fails", f"{check.name}: {check.detail}", check.cause, check.frame, check.path)


def verdict(checks: list[Check], findings: list[Finding]) -> str:
    """Of everything that was found."""
    severities = {finding.severity for finding in findings}
    if "fails" in severities or not all(check.ok for check in checks):
        return UNSAFE
    return UNCHECKED if "unchecked" in severities or not checks else SAFE
