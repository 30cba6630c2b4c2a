"""The files of the dashboard and of /docs, as they are served; what they do in a browser is in test_http_dashboard."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources

import pytest

from helpers.http_api import http_api

ASSETS = resources.files("durablectl.http") / "assets"
NAMES = sorted(each.name for each in ASSETS.iterdir())
TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
PAGES = {"/": "index.html", "/docs": "docs.html"}
VOID = {"meta", "link", "input", "br"}


class Markup(HTMLParser):
    """Fails for a tag that is not closed in its turn; ``named`` are the places that the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.named: list[str] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.named += [given[name] for name in ("href", "src") if given.get(name)]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "script" and not given.get("src"):
            self.inline.append(tag)
        if tag == "style":
            self.inline.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def text_of(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("target", PAGES)
async def test_a_page_is_html_under_a_strict_policy(settings, target):
    async with http_api(settings) as api:
        answer = await api.get(target)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= set(policy)
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_files_are_served_with_type_and_cached_by_browsers(settings):
    async with http_api(settings) as api:
        for name in NAMES:
            if name.endswith(".html"):
                continue
            answer = await api.get(f"/assets/{name}")
            assert (answer.status, answer.body.decode()) == (200, text_of(name))
            assert answer.headers["Content-Type"].partition(";")[0] == TYPES[name.rpartition(".")[2]]
            known = await api.get(f"/assets/{name}", {"If-None-Match": answer.headers["ETag"]})
            assert (known.status, known.body) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2fpages.py", "%2e%2e/pages.py", ""])
async def test_nothing_else_is_served(settings, name):
    async with http_api(settings) as api:
        answer = await api.get(f"/assets/{name}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_the_page_knows_whether_the_server_only_reads(settings):
    async with http_api(settings) as api:
        assert b'data-read-only="false"' in (await api.get("/")).body
    async with http_api(settings, read_only=True) as api:
        assert b'data-read-only="true"' in (await api.get("/")).body


@pytest.mark.parametrize("target", ["/", "/docs", "/assets/dashboard.js"])
async def test_pages_require_the_token_and_prompt_browsers_for_it(settings, target):
    async with http_api(settings, token="sesame-sesame") as api:  # noqa: S106  # lives as long as the test
        api.headers.clear()
        answer = await api.get(target)
    assert answer.status == 401
    # Browsers do not see the second challenge of one header.
    assert answer.headers.get_all("WWW-Authenticate") == ["Bearer", 'Basic realm="durablectl"']


@pytest.mark.parametrize("name", PAGES.values())
def test_html_is_well_formed_and_its_files_exist(name):
    markup = Markup(text_of(name))
    assert markup.inline == []
    for named in markup.named:
        if named.startswith("assets/"):
            assert named.removeprefix("assets/") in NAMES
        else:
            assert named in {"#main", "#/", ".", "docs", "openapi.json"}


def test_imported_scripts_exist_and_every_file_is_used():
    used = {named.removeprefix("assets/") for page in PAGES.values() for named in Markup(text_of(page)).named}
    for name in NAMES:
        imported = re.findall(r'from "\./([^"]+)"', text_of(name))
        assert set(imported) <= set(NAMES)
        used |= set(imported)
    assert set(NAMES) - used == set(PAGES.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_host_or_makes_markup_of_text(name):
    text = text_of(name).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    assert len(text.splitlines()) < 300


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_every_module_parses(name):
    node = shutil.which("node") or pytest.skip("no node is installed")
    checked = subprocess.run(
        [node, "--check", "--input-type=module"], input=text_of(name), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
