"""The dashboard at `/`, the API's description at `/docs`, and the files of this package that both are made of.

The description is a page of our own: Swagger UI as PyPI has it lies in wrappers of other frameworks, weighs 1.7 MB, and
needs inline scripts and styles, which a page that holds the token of this API must not allow.
"""

from __future__ import annotations

import hashlib
import html
from importlib import resources
from string import Template
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


class _File(NamedTuple):
    content: bytes
    type: str
    tag: str


def router(version: str, *, read_only: bool) -> APIRouter:
    """The files are read once."""
    named = {"version": html.escape(version), "read_only": str(read_only).lower()}
    files = {each.name: _file(each.name, each.read_bytes(), named) for each in _assets().iterdir() if each.is_file()}
    pages = {"/": files.pop("index.html"), "/docs": files.pop("docs.html")}
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    @routes.get("/docs")
    async def page(request: Request) -> Response:
        return _respond(request, pages[request.url.path])

    @routes.get("/assets/{name}")
    async def asset(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _respond(request, files[name])

    return routes


def _assets() -> resources.abc.Traversable:
    return resources.files("durablectl.http") / "assets"


def _file(name: str, content: bytes, named: dict[str, str]) -> _File:
    suffix = name.rpartition(".")[2]
    if suffix == "html":
        content = Template(content.decode()).substitute(named).encode()
    return _File(content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def _respond(request: Request, file: _File) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match", "").removeprefix("W/") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.type)
