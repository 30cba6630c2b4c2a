"""The stage on which real actors play the schedules of the model: streams, connections, and the comparison."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any, cast

from durablectl import workflow
from durablectl.control import StartRequest, start
from durablectl.engine.sdk.app_loader import App
from durablectl.errors import TerminalError
from durablectl.model.codec import decode_entry, decode_execution
from durablectl.model.retry_policy import Retry
from durablectl.storage.commands import command_queue
from durablectl.storage.connection.store import open_store, purge_request
from durablectl.storage.streams.direct_get import get_last, get_many_last
from durablectl.storage.streams.provision import provision
from durablectl.storage.streams.stored_messages import delivery_fields
from helpers.protocol.gated_actors import ACTOR, Actor, GatedRequests, OperatorActor, ProcessorActor, lease
from helpers.protocol.model_comparison import expected, label, recorded
from helpers.stored_records import list_subjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store
    from helpers.protocol.explorer import Move, Place, System
    from helpers.protocol.world import World

READING = frozenset({"load", "read", "alive", "members", "run"})
ACTORS = 5
WAIT_KINDS = ("awakeable", "child", "retry", "signal", "sleep")
NAMED_WAITS = ["+".join(kinds) for n in range(1, 6) for kinds in itertools.combinations(WAIT_KINDS, n)]
"""All that index entries can name. Processors know them from the start: making them known is no move of the model."""


async def step(number: int) -> str:
    value: str = await ACTOR.get().gate(("run", number))
    if value.endswith("error"):
        raise TerminalError(value)
    return value


def handler_of(kinds: tuple[str, ...]) -> Any:
    @workflow(name="_".join(kinds))
    async def handler(ctx: Any) -> list[str]:
        output = []
        for number, kind in enumerate(kinds):
            if kind == "wait":
                output.append(await ctx.awakeable("approval"))
            else:
                output.append(await ctx.step(step, number, name=f"s{number}", retry=Retry(max_attempts=1)))
        return output

    return handler


class Stage:
    """Streams and connections, used by one schedule after the other, each with an invocation of its own."""

    def __init__(self, stores: list[Store], kinds: Iterable[tuple[str, ...]]) -> None:
        self.observer, *self.stores = stores
        self.app = App()
        self.app.add([handler_of(each) for each in kinds])
        self.numbers = itertools.count()
        self.operations = 0

    async def play(self, system: System, moves: Iterable[Move]) -> None:
        performance = Performance(self, system, f"s{next(self.numbers)}")
        try:
            await performance.open()
            for move in moves:
                await performance.follow(move)
            await performance.matches()
        finally:
            await performance.close()


@contextlib.asynccontextmanager
async def staged(settings: Settings, kinds: Iterable[tuple[str, ...]]) -> AsyncIterator[Stage]:
    """Leases run out only when told to: their bucket keeps them for ever."""
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(settings)) for _ in range(1 + ACTORS)]
        stage = Stage(stores, kinds)
        store = stage.observer
        await provision(store)
        stream = f"{store.api}.STREAM.{{}}.{store.subjects.processors_stream}"
        info = await store.requests.call(stream.format("INFO"))
        await store.requests.call(stream.format("UPDATE"), {**info["config"], "max_age": 0})
        for handler in stage.app.workflows:
            for each in stores:
                each.known_handlers.add(handler)
                each.known_handlers.update(f"{handler}.{waits}" for waits in NAMED_WAITS)
            name, subject = command_queue.consumer_name(handler), store.subjects.handler_commands(handler)
            await command_queue.ensure_consumer(store, name, subject, 300)
        yield stage


class Performance:
    """One schedule, played by the model and by real actors at once."""

    def __init__(self, stage: Stage, system: System, invocation_id: str) -> None:
        self._stage = stage
        self._system = system
        self._place: Place = system.begin()
        self._store = stage.observer
        self._id = invocation_id
        self._handler = "_".join(system.scenario.handler)
        self._held: dict[int, Any] = {}
        self._sequences: dict[int, int] = {}
        processors = [
            ProcessorActor(name, store, stage.app) for name, store in zip(system.names, stage.stores, strict=False)
        ]
        others = stage.stores[len(processors) :]
        operators = [OperatorActor(system.name(len(processors)), others[n]) for n in range(len(self._operators))]
        self._processors = processors
        self._actors: list[Any] = [*processors, *operators]
        self._names = {actor.id: actor.name for actor in processors} | {"": ""}

    @property
    def _operators(self) -> tuple[tuple[str, ...], ...]:
        return self._system.scenario.operators

    @property
    def _world(self) -> World:
        return self._system.world(self._place)

    async def open(self) -> None:
        if self._system.scenario.started:
            await start(self._store, StartRequest(self._handler, None, self._id))
            self._sequences[1] = await self._fetch()
        for actor in self._actors:
            actor.invocation_id = self._id
            actor.store.requests = GatedRequests(actor, self._id, self._names)
        for actor in self._processors:
            await lease(actor, True)
        for actor, names in zip(self._actors[len(self._processors) :], self._operators, strict=True):
            actor.answer = self._handler
            actor.begin(names)
            await actor.wait_until_idle()

    async def close(self) -> None:
        for actor in self._actors:
            await actor.kill()
            actor.store.requests = getattr(actor.store.requests, "ungated", actor.store.requests)
        subjects = self._store.subjects
        streams = [subjects.commands_stream, subjects.index_stream, subjects.processors_stream]
        await self._store.requests.exchange([purge_request(self._store, stream, ">") for stream in streams])

    async def follow(self, move: Move) -> None:
        """Let the real actor do what the model's does."""
        asked = self._system.asks(self._place, move.who) if move.kind == "act" else None
        dead = frozenset(self._system.names) - self._world.leases
        after = self._system.after(self._place, move)
        actor = self._actors[move.who]
        match move.kind:
            case "act":
                self._stage.operations += 1
                assert asked is not None
                await self._act(actor, asked, after, move.who)
            case "die":
                await actor.kill()
            case "deliver":
                sequence = self._sequences[move.what]
                while sequence not in self._held:
                    await self._fetch()
                actor.take(self._held[sequence])
                await actor.wait_until_idle()
            case "look":
                actor.look(lambda owner: self._names[owner] in dead)
                await actor.wait_until_idle()
            case "fire":
                await self._fire(move.what)
            case "redeliver" | "repeat":
                message = self._held.pop(self._sequences[move.what])
                await self._store.requests.send(message.reply, b"-NAK")
            case _:
                await lease(actor, move.kind == "renew")
        self._place = after
        if asked is None or asked[0] not in READING:
            await self.matches()

    async def _act(self, actor: Actor, asked: tuple[Any, ...], after: Place, who: int) -> None:
        assert actor.asks == label(asked), f"{actor.name} asks {actor.asks}, the model {label(asked)}"
        sent = cast("GatedRequests", actor.store.requests).sent
        before = len(sent)
        actor.let_through(self._system.result(after, who, asked[1]) if asked[0] == "run" else None)
        await actor.wait_until_idle()
        assert actor.is_idle == (self._system.asks(after, who) is None), f"{actor.name} asks {actor.asks}"
        if len(sent) > before:
            self._sequences[self._system.world(after).sent] = sent[-1]

    async def _fire(self, name: str) -> None:
        store, subjects = self._store, self._store.subjects
        timer = subjects.timer(self._id, name)
        raw = await get_last(store, subjects.commands_stream, timer)
        assert raw is not None
        await store.requests.exchange([purge_request(store, subjects.commands_stream, timer)])
        ack = await store.requests.publish(subjects.command(self._handler, ""), raw.data)
        self._sequences[self._world.sent + 1] = ack.sequence

    async def _fetch(self) -> int:
        """Take one command out of the stream; its sequence."""
        store = self._store
        inbox = store.nats.new_inbox()
        subscription = await store.nats.subscribe(inbox)
        name = command_queue.consumer_name(self._handler)
        subject = f"{store.api}.CONSUMER.MSG.NEXT.{store.subjects.commands_stream}.{name}"
        await store.nats.publish(subject, json.dumps({"batch": 1, "expires": 5_000_000_000}).encode(), reply=inbox)
        message = await subscription.next_msg(timeout=60)
        await subscription.unsubscribe()
        sequence = delivery_fields(message.reply).stream_sequence
        self._held[sequence] = message
        return sequence

    async def matches(self) -> None:
        real, model = await self._observed(), expected(self._world)
        assert real == model, "\n".join(
            f"{key}: {real[key]} but {model[key]}" for key in model if real[key] != model[key]
        )

    async def _observed(self) -> dict[str, Any]:
        """What is stored, in the words of the model."""
        store, subjects = self._store, self._store.subjects
        state_subject = subjects.state(self._id)
        everything = [state_subject, subjects.journal(self._id, "*")]
        answer = await get_many_last(store, subjects.state_stream, everything)
        assert answer is not None
        found = {raw.subject: raw.data for raw in answer.messages}
        data = found.pop(state_subject, None)
        left = [subjects.index_entry(each) for each in await list_subjects(store, subjects.index_stream, ">")]
        info = await store.requests.call(
            f"{store.api}.STREAM.INFO.{subjects.commands_stream}", {"subjects_filter": ">"}
        )
        counts = info["state"].get("subjects") or {}
        stem = subjects.timer(self._id, "")
        seen = {
            "journal": sorted(recorded(decode_entry(each)) for each in found.values()),
            "index": sorted(entry.group for entry in left),
            "timers": sorted(each[len(stem) :] for each in counts if each.startswith(stem)),
            "commands": counts.get(subjects.command(self._handler, ""), 0),
            "state": None,
            "is entered": False,
        }
        if data is not None:
            state = decode_execution(data, self._id)
            seen["is entered"] = any((e.group, e.timestamp_us) == (state.index_group, state.indexed_at) for e in left)
            seen["state"] = {
                "status": str(state.status),
                "owner": self._names[state.owner],
                "attempt": state.attempt,
                "group": str(state.index_group),
                "left": [str(each.status) for each in state.superseded_entries],
                "cancel": state.cancel_requested,
                "answered": any(answer.resolved for answer in state.awakeables.values()),
                "inlined": sorted(recorded(each) for each in state.journal),
                "has_stream_journal": state.journal_length > 0,
                "retries": len(state.history),
                "output": json.loads(state.output.data) if state.output.data else [],
            }
        return seen
