"""A store of another kind than the embedded one: objects by the hash of what is in them, and an index of names.

As an object storage would, it hands a file out only as a copy, and has no folder for an episode.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blake3 import blake3

from rollgym.protocol.files.durable import make_folder, write
from rollgym.server.storage.keys import EpisodeKey, UploadKey, is_match_id


class ContentStore:
    """An :class:`~rollgym.server.storage.episode_store.EpisodeStore`. The index is a small file for each name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[Any, ...]:
        return ContentStore, (self.root,)

    @property
    def place(self) -> str:
        return f"content:{self.root}"

    def open(self, free_bytes: int) -> None:
        for folder in ("objects", "names", "new"):
            make_folder(self.root / folder)
        for left in (self.root / "new").iterdir():
            left.unlink()

    def close(self) -> None:
        pass

    def health(self, free_bytes: int) -> str | None:
        return None if (self.root / "objects").is_dir() else "no objects"

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def new_temporary(self) -> Path:
        return self.root / "new" / secrets.token_hex(8)

    def put_upload(self, key: UploadKey, file: Path) -> None:
        self._put(["upload", *key], file)

    def put_file(self, key: EpisodeKey, name: str, file: Path) -> None:
        self._put(["file", *key, name], file)

    def has_upload(self, key: UploadKey) -> bool:
        return self._name(["upload", *key]).exists()

    def upload(self, key: UploadKey) -> bytes:
        return self._object(["upload", *key]).read_bytes()

    def received(self, key: UploadKey) -> float:
        return self._name(["upload", *key]).stat().st_mtime

    @contextmanager
    def upload_file(self, key: UploadKey) -> Iterator[Path]:
        with self._copy(["upload", *key]) as path:
            yield path

    def discard_uploads(self, keys: Iterable[UploadKey]) -> None:
        for key in keys:
            self._name(["upload", *key]).unlink(missing_ok=True)

    def uploads(self) -> Iterator[UploadKey]:
        for kind, *key in self._names():
            if kind == "upload":
                yield UploadKey(*key)

    @contextmanager
    def file(self, key: EpisodeKey, name: str) -> Iterator[Path]:
        with self._copy(["file", *key, name]) as path:
            yield path

    def files(self, key: EpisodeKey) -> list[str]:
        return [name[3] for name in self._names() if name[0] == "file" and tuple(name[1:3]) == key]

    def ends(self, key: EpisodeKey, name: str, size: int) -> tuple[bytes, bytes]:
        content = self._object(["file", *key, name]).read_bytes()
        return content[:size], content[-size:]

    def discard_files(self, key: EpisodeKey, names: Iterable[str]) -> None:
        for name in names:
            self._name(["file", *key, name]).unlink(missing_ok=True)

    def episodes(self) -> Iterator[EpisodeKey]:
        yield from sorted({EpisodeKey(name[1], name[2]) for name in self._names() if name[0] == "file"})

    def upload_place(self, key: UploadKey) -> str:
        return f"upload {key.match}/{key.episode}/{key.player}"

    def file_place(self, key: EpisodeKey, name: str = "") -> str:
        return f"file {key.match}/{key.episode}/{name}"

    def strangers(self) -> Iterator[str]:
        yield from ()

    def unfinished(self) -> Iterator[str]:
        for path in sorted((self.root / "new").iterdir()):
            yield path.name

    # --- names and objects --------------------------------------------------------------------------------------

    def _put(self, name: list[Any], file: Path) -> None:
        if not is_match_id(name[1]):
            raise ValueError(name[1])
        content = file.read_bytes()
        hashed = blake3(content).hexdigest()
        write(self.root / "objects" / hashed, [content], temporary=self.new_temporary())
        write(self._name(name), [hashed.encode()], temporary=self.new_temporary())
        file.unlink()

    def _name(self, name: list[Any]) -> Path:
        return self.root / "names" / json.dumps(name).encode().hex()

    def _names(self) -> list[list[Any]]:
        return sorted(json.loads(bytes.fromhex(path.name)) for path in (self.root / "names").iterdir())

    def _object(self, name: list[Any]) -> Path:
        return self.root / "objects" / self._name(name).read_text()

    @contextmanager
    def _copy(self, name: list[Any]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (name[3] if name[0] == "file" else "upload")
            if self._name(name).exists():
                shutil.copyfile(self._object(name), path)
                os.chmod(path, 0o400)  # noqa: PTH101 - a copy: whoever writes into it has not understood that
            yield path
