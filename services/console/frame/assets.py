"""Style sheets and modules, at addresses with a hash in them: they are kept for a year, and never stale.

All share one hash, so that modules find each other by relative addresses.
"""

import gzip
import hashlib
from functools import cached_property
from pathlib import Path

import zstandard
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.console.frame.headers import asset_headers
from services.contract.api.root_paths import CONSOLE_PATH

FOLDER = Path(__file__).parents[1] / "assets"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH_CHARS = 12
_ZSTD_LEVEL = 19


class Asset:
    """A file with its packed forms, which are made when they are first asked for."""

    def __init__(self, name: str, content: bytes) -> None:
        self.type = _TYPES[Path(name).suffix]
        self.plain = content

    @cached_property
    def gzip(self) -> bytes:
        return gzip.compress(self.plain, 9, mtime=0)

    @cached_property
    def zstd(self) -> bytes:
        return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(self.plain)

    def packed_for(self, accepted: str) -> tuple[bytes, str]:
        """The bytes and their encoding, by the request's Accept-Encoding."""
        names = {part.partition(";")[0].strip() for part in accepted.split(",")}
        if "zstd" in names:
            return self.zstd, "zstd"
        if "gzip" in names:
            return self.gzip, "gzip"
        return self.plain, ""


class Assets:
    """All of them, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
        common = _hash(*(name.encode() + content for name, content in contents.items()))
        self._places = {name: f"{common}/{name}" for name in contents}
        self._assets = {self._places[name]: Asset(name, content) for name, content in contents.items()}

    def address(self, name: str) -> str:
        """For templates. Raises KeyError for a file that is not there."""
        return f"{CONSOLE_PATH}/assets/{self._places[name]}"

    def route(self) -> Route:
        return Route(f"{CONSOLE_PATH}/assets/{{place:path}}", self.send)

    async def send(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["place"])
        if asset is None:
            raise HTTPException(404)
        body, encoding = await run_in_threadpool(asset.packed_for, request.headers.get("accept-encoding", ""))
        headers = {**asset_headers(), "vary": "accept-encoding"} | ({"content-encoding": encoding} if encoding else {})
        return Response(body, headers=headers, media_type=asset.type)


def _hash(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:_HASH_CHARS]
