"""Infos that may be handed out again and again."""

from __future__ import annotations

from typing import Any, NoReturn


class FrozenInfo(dict[str, Any]):
    """A dict that cannot be changed. Copies of it, and what comes out of a pickle, are plain dicts.

    A step in which nothing happened is by far the most common one; it should not cost two new dicts.
    """

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this info is shared between frames: change a copy, dict(info)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


NO_INFO = FrozenInfo()
