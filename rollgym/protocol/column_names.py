"""Names of columns, put together from the names of agents and keys so that they can be taken apart again.

Parts are joined by ``/`` in the dataset's files and by ``.`` in flat tables. An agent or a key may hold either, or be
empty. So within a part ``%`` is written ``%25``, the separator ``%2F`` or ``%2E``, and an empty part is a lone ``%``.
Names without these characters stay as they are, and two columns never get one name.
"""

from __future__ import annotations

from collections.abc import Iterable


def joined(parts: Iterable[str], separator: str) -> str:
    """One name of these parts; :func:`split` gives them back. ``separator`` is ``/`` or ``.``."""
    code = f"%{ord(separator):02X}"
    return separator.join([part.replace("%", "%25").replace(separator, code) or "%" for part in parts])


def split(name: str, separator: str) -> list[str]:
    """The parts of a name that :func:`joined` made."""
    code = f"%{ord(separator):02X}"
    parts = name.split(separator)
    return ["" if part == "%" else part.replace(code, separator).replace("%25", "%") for part in parts]


def is_writable(text: str) -> bool:
    """Whether a text has UTF-8 bytes: one with half of a surrogate pair (``os.fsdecode`` makes such) has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
