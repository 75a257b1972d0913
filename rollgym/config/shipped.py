"""Where the experiment files that come with rollgym are."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def config_folder(package: Path = _PACKAGE) -> Path:
    """The folder of the built-in experiment files: `rollgym/_config` in an installed wheel, `config/` in a checkout.

    The wheel's copy is looked at first: beside an installed package, a folder named `config` is somebody else's.
    """
    shipped = package / "_config"
    return shipped if shipped.is_dir() else package.parent / "config"


def builtin_configs(folder: Path | None = None) -> dict[str, Path]:
    """Name to file, in order of name. The name is the file's, without `.yaml`."""
    return {path.stem: path for path in sorted((folder or config_folder()).glob("*.yaml"))}


def builtin_config(name: str, folder: Path | None = None) -> Path:
    """The file of the built-in experiment `name`, for example `pong`.

    The name is looked up, never joined into a path. Raises `FileNotFoundError` with the names there are.
    """
    found = builtin_configs(folder)
    if name not in found:
        raise FileNotFoundError(f"built-in config {name!r} does not exist; expected one of: {', '.join(found) or '-'}")
    return found[name]
