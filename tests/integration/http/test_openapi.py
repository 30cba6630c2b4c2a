"""Every answer fits what /openapi.json says of it, and what it says is complete."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from durablectl import control, workflow
from durablectl.http.asgi import create_app
from durablectl.http.backend import Backend
from durablectl.http.server_options import HttpOptions
from helpers.http_api import http_api
from helpers.in_process import provisioned_store, running_processor
from helpers.workflow_runs import start_workflow, wait_for_status

FORMATS = FormatChecker(["date"])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
TOKEN = "a-long-token"  # noqa: S105  # a test's


@workflow
async def asking(ctx, given):
    ctx.set("given", given)
    await ctx.step(str, given)
    return await ctx.awakeable("approval")


@workflow
async def raising(ctx, given):
    await ctx.step(str, given)
    raise ValueError(given)


@workflow
async def parent(ctx, given):
    return await ctx.invoke(asking, given)


@FORMATS.checks("date-time")
def is_time(value):
    return not isinstance(value, str) or TIME.fullmatch(value) is not None


def document(**options):
    return create_app(Backend(), HttpOptions(**options), "test")._app.openapi()


DOCUMENT = document(token=TOKEN)
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def validator(schema):
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]}, format_checker=FORMATS)


def operation_of(method, target):
    path = target.partition("?")[0]
    for template in sorted(DOCUMENT["paths"], key=lambda each: each.count("{")):
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method in DOCUMENT["paths"][template]:
            return DOCUMENT["paths"][template][method]
    raise AssertionError(target)


def check(method, target, answer):
    documented = operation_of(method.lower(), target)["responses"]
    assert str(answer.status) in documented, (method, target, answer)
    for name in documented[str(answer.status)].get("headers", ()):
        assert name in answer.headers or name == "Link"
    if answer.status == 304:
        assert answer.body == b""
        return
    schema = documented[str(answer.status)]["content"]["application/json"]["schema"]
    validator(schema).validate(answer.json)


async def test_every_answer_in_every_state_fits_its_schema(settings):
    async with provisioned_store(settings) as store, http_api(settings) as http:

        async def ask(method, target, body=None, status=200, **headers):
            answer = await http(method, target, body, {k.replace("_", "-"): v for k, v in headers.items()})
            assert answer.status == status, answer
            check(method, target, answer)
            return answer

        await ask("POST", "/api/workflows/nobodys/invoke?id=delayed&delay=1h&partition_key=p", {"a": [None]}, 202)
        await ask("POST", "/api/workflows/nobodys/invoke?id=delayed", status=409)
        async with running_processor(settings, asking, raising, parent):
            for name in ("asking", "raising", "parent"):
                await ask("POST", f"/api/workflows/{name}/invoke?id={name}", "x", 202)
            await wait_for_status(store, "raising", "failed")
            child = (await wait_for_status(store, "parent", "suspended")).children[0]
            await wait_for_status(store, child, "suspended")
            await wait_for_status(store, "asking", "suspended")
            await ask("GET", "/api/processors")
            await ask("GET", "/api/status")
            for verb in ("pause", "pause", "resume", "resume"):
                await ask("POST", f"/api/workflows/{child}/{verb}")
            await wait_for_status(store, child, "suspended")
            await ask("POST", f"/api/workflows/{child}/cancel?reason=enough")
            await wait_for_status(store, "parent", "failed")
            await ask("POST", "/api/workflows/raising/retry?from_step=0")
            await wait_for_status(store, "raising", "failed")
            again = await ask("POST", "/api/workflows/raising/retry?restart=true")
            assert again.json["restarted_from"] == "raising"
            await ask("POST", "/api/workflows/asking/signals/note", [1])
            for target in ("/api/workflows?limit=2", "/api/workflows?status=failed", "/api/workflows?error=x"):
                await ask("GET", target)
            for name in ("asking", "raising", "parent", child, "delayed"):
                await ask("GET", f"/api/workflows/{name}")
            await ask("POST", "/api/awakeables/asking.approval/resolve", {"by": "me"})
            await wait_for_status(store, "asking", "completed")
            tag = (await ask("GET", "/api/workflows/asking?steps=:")).headers["ETag"]
            await ask("GET", "/api/workflows/asking", status=304, If_None_Match=tag)
            await ask("GET", "/api/workflows/asking?fields=status,journal")
            await ask("POST", "/api/awakeables/asking.approval/reject", "no", 409)
            await ask("POST", "/api/workflows/asking/resume", status=409)
            await ask("DELETE", "/api/workflows/asking", status=412, If_Match='"1"')
            await ask("DELETE", "/api/workflows/asking")
            await ask("GET", "/api/workflows/asking", status=404)
            await ask("GET", "/api/workflows/active?fields=handler")
            await ask("GET", "/api/workflows/stats")
            await ask("GET", "/api/workflows?limit=abc", status=400)
            await ask("GET", "/health?ready=1")


async def test_a_namespace_without_streams_has_answers_that_fit(settings):
    async with http_api(settings) as http:
        for target in ("/api/workflows", "/api/workflows/active", "/api/workflows/stats", "/api/workflows/a"):
            answer = await http.get(target)
            check("GET", target, answer)
            assert (answer.status, answer.error["code"]) == (404, "not_provisioned")
            assert "durablectl" not in answer.body.decode()
        assert (await http.get("/health")).status == 200
        answer = await http.get("/health?ready=true")
        check("GET", "/health", answer)
        assert (answer.status, answer.json["status"]) == (503, "not ready")


async def test_a_start_makes_the_streams(settings):
    async with http_api(settings) as http:
        assert (await http.post("/api/workflows/nobodys/invoke?id=first")).status == 202
        assert (await http.get("/api/workflows/first")).json["status"] == "pending"


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_is_documented_whole(path, method, operation):
    assert operation["summary"]
    answers = operation["responses"]
    assert "422" not in answers
    assert ("401" in answers) == (path != "/health") == ("security" in operation)
    assert ("403" in answers) == (method != "get")
    for answer in answers.values():
        content = answer.get("content", {}).get("application/json")
        if content is not None:
            validator(content["schema"]).validate(content["example"])
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter
        validator(parameter["schema"]).validate(parameter["example"])
        assert {"type": "null"} not in parameter["schema"].get("anyOf", [])


def test_without_a_token_no_answer_asks_for_one():
    shown = document()
    assert "securitySchemes" not in shown["components"]
    assert not [1 for item in shown["paths"].values() for each in item.values() if "401" in each["responses"]]


def test_every_shape_is_closed():
    for name, shape in DOCUMENT["components"]["schemas"].items():
        assert shape["additionalProperties"] is False, name
        assert ("required" in shape) != name.startswith("PartOf"), name


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("since", ["2h", "1d12h", "2026-11-22", "2026-11-22T09:00:00Z"], ["yesterdayish", "0s", "2", ""]),
        ("status", [["failed"], ["failed,active"]], [["foo"], [""]]),
        ("fields", ["status,error"], ["status,", "nothing"]),
        ("limit", [1, 1000], [0, 1001]),
        ("partition_key", ["a=b"], ["a.b", ""]),
    ],
)
async def test_server_accepts_exactly_the_documented_parameter_values(settings, name, right, wrong):
    (schema,) = (p["schema"] for p in DOCUMENT["paths"]["/api/workflows"]["get"]["parameters"] if p["name"] == name)
    async with provisioned_store(settings), http_api(settings) as http:
        for values, is_right in ((right, True), (wrong, False)):
            for value in values:
                assert validator(schema).is_valid(value) == is_right, value
                text = value[0] if isinstance(value, list) else value
                assert ((await http.get(f"/api/workflows?{name}={text}")).status == 200) == is_right, value


async def test_the_document_is_that_of_the_running_server(settings):
    async with http_api(settings, token=TOKEN) as http:
        assert (await http.get("/openapi.json")).json == DOCUMENT


async def test_refused_operation_has_the_documented_code(settings):
    async with provisioned_store(settings) as store, http_api(settings) as http:
        await start_workflow(store, "nobodys", id="one")
        await control.cancel(store, "one")
        answer = await http.post("/api/workflows/one/pause")
        assert (answer.status, answer.error["code"]) == (409, "invalid_state")
