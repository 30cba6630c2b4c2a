"""Names become subjects, and no two of them meet: not ids, handlers, partitions, schedules, nor namespaces."""

from __future__ import annotations

from itertools import combinations
from string import ascii_letters, digits

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as choose
from hypothesis import strategies as st

from durablectl import control, query, workflow
from durablectl.errors import NotFoundError
from durablectl.model.names import awakeable_id_of, invocation_of_awakeable, is_name
from durablectl.model.validation import LATEST
from durablectl.settings import Settings
from durablectl.settings.parsing import namespace as checked_namespace
from durablectl.storage.commands.command_queue import UNROUTED, consumer_name
from durablectl.storage.index.comparison import parse_index_entry
from durablectl.storage.records import leases
from durablectl.storage.streams.provision import stream_configurations
from durablectl.storage.streams.stored_messages import DeliveryFields, delivery_fields
from durablectl.storage.subjects import IndexEntry, Subjects
from helpers.in_process import provisioned_store, running_processor
from helpers.workflow_runs import start_workflow, wait_for_status

SHORT = choose(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHARACTERS = ascii_letters + digits + "-_="
NAMES = (
    st.sampled_from(
        ["a", "b", "a-b", "a_b", "-", "=", "_", "a=", "journal", "index", "KV", "x" * 128, "-=_" + "h" * 125]
    )
    | st.text(CHARACTERS, min_size=1, max_size=6)
    | st.text(CHARACTERS, min_size=128, max_size=128)
)
NAMESPACES = st.sampled_from(["", "a", "b", "a-b", "a_b", "-", "_", "type"]) | st.text(
    ascii_letters + digits + "-_", max_size=6
)
GROUPS = st.sampled_from(["pending", "running", "suspended", "paused", "completed", "failed", "cancelled", "other"])


def every_subject(namespace: str, one: str, other: str) -> dict[tuple[str, ...], str]:
    """All that two names can become, by what it stands for."""
    subjects = Subjects(namespace)
    made = {
        ("state", one): subjects.state(one),
        ("journal", one): subjects.journal(one, 1),
        ("journal 11", one): subjects.journal(one, 11),
        ("type", one): subjects.type(one),
        ("handler", one): subjects.handler(one),
        ("rejected",): subjects.rejected(1),
        ("schedule", one): subjects.schedule(one),
        ("notifications", one): subjects.notifications(one),
        ("command", one, other): subjects.command(one, other),
        ("command of none", one): subjects.command(one, ""),
        ("fires", one, other): subjects.fires(one, other),
        ("timer", one, other): subjects.timer(one, other),
        ("recurrence", one): subjects.recurrence(one),
        ("lease", one): subjects.processor(one),
        ("index", one, other): subjects.index("failed", 1, one, "", other),
        ("index of a partition", one, other): subjects.index("failed", 1, "h", one, other),
    }
    return {(namespace, *what): subject for what, subject in made.items()}


@SHORT
@given(st.lists(NAMESPACES, min_size=1, max_size=3, unique=True), st.lists(NAMES, min_size=2, max_size=3, unique=True))
def test_no_two_things_share_a_subject(namespaces, names):
    made: dict[tuple[str, ...], str] = {}
    for namespace in namespaces:
        for one, other in [*combinations(names, 2), *((name, name) for name in names)]:
            made |= every_subject(checked_namespace(namespace), one, other) | every_subject(namespace, other, one)
    assert len(set(made.values())) == len(made)


def matches(subject: str, pattern: str) -> bool:
    tokens, wanted = subject.split("."), pattern.split(".")
    if wanted[-1] == ">":
        return len(tokens) >= len(wanted) and matches(".".join(tokens[: len(wanted) - 1]), ".".join(wanted[:-1]))
    return len(tokens) == len(wanted) and all(w in {"*", t} for t, w in zip(tokens, wanted, strict=True))


@SHORT
@given(st.lists(NAMESPACES, min_size=1, max_size=3, unique=True), st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_each_subject_has_one_stream_and_each_command_one_consumer(namespaces, names):
    streams = {
        (namespace, stream["name"]): stream["subjects"]
        for namespace in namespaces
        for stream in stream_configurations(Subjects(namespace))
    }
    assert len({name for _, name in streams}) == 4 * len(namespaces)
    for namespace in namespaces:
        subjects = Subjects(namespace)
        for what, subject in every_subject(namespace, *names).items():
            takers = [ns for (ns, _), listed in streams.items() for each in listed if matches(subject, each)]
            assert takers == ([] if what[1] == "notifications" else [namespace]), subject
        filters = {consumer_name(name): subjects.handler_commands(name) for name in names}
        filters[UNROUTED] = subjects.unrouted_commands
        assert len(filters) == len(names) + 1
        for name in names:
            for subject in (subjects.command(name, names[0]), subjects.command(name, ""), subjects.fires(name, "s")):
                assert [each for each in filters if matches(subject, filters[each])] == [consumer_name(name)]
        assert [
            each for each in filters if matches(f"{subjects.command('p0', '').rpartition('.')[0]}", filters[each])
        ] == [UNROUTED]


@SHORT
@given(NAMESPACES, GROUPS, st.integers(0, LATEST - 1), NAMES, NAMES | st.just(""), NAMES)
def test_index_entry_subject_round_trips(namespace, group, moment, handler, partition, invocation_id):
    subjects = Subjects(namespace)
    subject = subjects.index(group, moment, handler, partition, invocation_id)
    assert parse_index_entry(subjects, subject) == IndexEntry(group, moment, handler, partition, invocation_id)
    assert matches(subject, subjects.index_filter(group, handler=handler, partition=partition or "~"))
    assert not matches(subject, subjects.index_filter(group, handler=handler + "x"))


@SHORT
@given(NAMES, st.text(CHARACTERS, min_size=1, max_size=8), st.integers(1, 10**6))
def test_an_awakeable_is_of_one_invocation(invocation_id, name, count):
    assert invocation_of_awakeable(awakeable_id_of(invocation_id, name, count)) == invocation_id


@SHORT
@given(st.text(max_size=130))
def test_any_valid_name_is_one_subject_token(text):
    assert is_name(text) == (1 <= len(text) <= 128 and {*text} <= {*CHARACTERS})


@SHORT
@given(
    st.lists(st.integers(0, 2**63), min_size=5, max_size=5),
    NAMES,
    st.sampled_from(["$JS.ACK.S.{}", "$JS.ACK._.hash.S.{}", "$JS.ACK.hub.hash.S.{}"]),
)
def test_delivery_metadata_is_parsed_in_both_forms(numbers, consumer, form):
    tail = ".".join([consumer, *map(str, numbers)]) + (".token" if "hash" in form else "")
    attempt, stream, sequence, nanoseconds, remaining = numbers
    assert delivery_fields(form.format(tail)) == DeliveryFields(
        consumer, attempt, stream, sequence, nanoseconds // 1000, remaining
    )


@workflow
async def echo(_ctx, value):
    return value


@pytest.mark.parametrize("others", [("a", "b"), ("a", "a-a"), ("", "a"), ("a", "a_a"), ("-", "_")], ids=str)
async def test_namespaces_with_names_that_look_alike_see_nothing_of_each_other(nats_server, namespace, others):
    """With the same id, handler and partition in both, and ids that look like the other's subjects."""
    ids = ["a", "a-b", "a-", "=", "journal", "i" * 128]
    spaces = [Settings(url=nats_server.url, namespace=namespace + other, timeout=30) for other in others]
    async with provisioned_store(spaces[0]) as one, provisioned_store(spaces[1]) as two:
        async with running_processor(spaces[0], echo):
            for name in ids:
                await start_workflow(two, echo, "two", id=name)
                await start_workflow(one, echo, "one", id=name)
                assert (await wait_for_status(one, name, "completed")).output == "one"
            assert {view.status for view in (await query.list_workflows(two)).workflows} == {"pending"}
            assert (await query.get_stats(two)).by_status == {"pending": len(ids)}
            assert await leases.live_processors(two) == []
        await control.delete(one, "a")
        with pytest.raises(NotFoundError):
            await query.get_workflow(one, "a")
        async with running_processor(spaces[1], echo):
            for name in ids:
                assert (await wait_for_status(two, name, "completed")).output == "two"
        assert (await query.get_stats(one)).total == len(ids) - 1
