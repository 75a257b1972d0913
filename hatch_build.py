"""The build hook of the wheel: compiles what is played at every frame with mypyc, where that can be done.

``ROLLGYM_BUILD`` says what is wanted: ``auto`` (the default: compiled if there is a C compiler and mypyc, else pure),
``compiled`` (or the build fails), ``pure``. An editable install is always pure. The sources are in the wheel in either
case, so tracebacks show them; Python takes the compiled module where there are both.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = ["mypy>=2.4", "setuptools>=65"]
"""To compile. Asked for only where there is a compiler, so that nobody else downloads them."""

WANTED = ("auto", "compiled", "pure")

_SETUP = """\
import sys
from mypyc.build import mypycify
from setuptools import setup

options = ["--ignore-missing-imports", "--explicit-package-bases", "--namespace-packages", "--follow-imports=silent"]
setup(name="rollgym", ext_modules=mypycify(sys.argv.pop().split(",") + options, group_name="rollgym", opt_level="3"))
"""


class CannotCompileError(Exception):
    """Why there is no compiled form."""


class CompiledBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to the wheel."""

    def dependencies(self) -> list[str]:
        """What has to be there to build."""
        return list(NEEDED) if _wanted() == "compiled" or (_wanted() == "auto" and _compiler()) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are gathered."""
        wanted = _wanted()
        if wanted == "pure" or version == "editable":
            return
        place = Path(tempfile.mkdtemp(prefix="rollgym-build-"))
        self._place = place
        try:
            built = compile_into(place, Path(self.root), modules(Path(self.root), self.config))
        except CannotCompileError as error:
            if wanted == "compiled":
                raise
            self.app.display_info(f"rollgym is built as pure Python: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in built:
            build_data["force_include"][str(path)] = path.relative_to(place).as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        if hasattr(self, "_place"):
            shutil.rmtree(self._place)


def modules(root: Path, config: dict[str, Any]) -> list[str]:
    """The files to compile, from the patterns of the configuration, below ``root``."""
    left_out = {path for pattern in config["leave-out"] for path in root.glob(pattern)}
    found = {path for pattern in config["compile"] for path in root.glob(pattern)} - left_out
    return sorted(path.relative_to(root).as_posix() for path in found if path.name != "__init__.py")


def compile_into(place: Path, root: Path, files: list[str]) -> list[Path]:
    """Compile ``files`` of the checkout; gives the extension modules. Raises :class:`CannotCompileError`.

    mypyc follows imports, and does not see through links: the package is copied, with real files for the links.
    """
    if not _compiler():
        raise CannotCompileError("there is no C compiler")
    missing = [name for name in ("mypyc", "setuptools") if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotCompileError(f"there is no {' and no '.join(missing)}")
    shutil.copytree(root / "rollgym", place / "rollgym", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
    (place / "setup.py").write_text(_SETUP)
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", ",".join(files)],
        cwd=place,
        env={**os.environ, "MYPYPATH": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built = sorted(path for path in place.rglob(f"*{suffix}") if "build" not in path.relative_to(place).parts)
    if done.returncode or not built:
        raise CannotCompileError(f"mypyc ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return built


def _wanted() -> str:
    wanted = os.environ.get("ROLLGYM_BUILD", "auto")
    if wanted not in WANTED:
        raise ValueError(f"ROLLGYM_BUILD = {wanted!r}: expected one of {', '.join(WANTED)}")
    return wanted


def _compiler() -> bool:
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return shutil.which(command[0]) is not None
