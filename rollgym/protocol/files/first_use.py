"""To be imported by a process that is to be ready before its work comes.

Arrow looks for pandas when it makes its first array. Where pandas is installed that takes a third of a second.
"""

from __future__ import annotations

import pyarrow as pa

pa.array([0])
