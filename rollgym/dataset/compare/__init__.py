"""Do two recordings hold the same facts, and if not, where do they first differ.

Only the canonical part counts: a peer's own part rightly differs. Two files of one form are compared bit for bit and
with their types; between different forms 1 and 1.0 are equal numbers. Everything works on whole columns.
"""

from __future__ import annotations

from rollgym.dataset.compare.files import compare_files
from rollgym.dataset.compare.folders import FolderComparison, compare_paths
from rollgym.dataset.compare.result import Comparison, Difference

__all__ = ["Comparison", "Difference", "FolderComparison", "compare_files", "compare_paths"]
