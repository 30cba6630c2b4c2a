"""Every interleaving of a scenario: processors, operators and a client, deaths, lost leases, commands delivered again.

States are interned as small numbers, so that a state that was seen by any other way is met again as the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.protocol.operators import Protocol
from helpers.protocol.programs import FIRST
from helpers.protocol.world import Command, State, World, apply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.protocol.world import Operation
    from helpers.protocol.writes import Goto

IDLE, DEAD = 0, 1


@dataclass(frozen=True)
class Scenario:
    """What may happen: ``operators`` act side by side, each one operation after the other.

    ``deaths`` of anyone, ``expiries`` of leases of processors that are frozen only, ``repeats`` of deliveries.
    """

    handler: tuple[str, ...] = ("step", "step")
    operators: tuple[tuple[str, ...], ...] = ()
    processors: int = 2
    deaths: int = 0
    expiries: int = 0
    repeats: int = 0
    looks: int = 2
    """How often a processor looks for work once another one's lease has run out; engine/recovery/failover.py."""
    attempts: int = 4
    """No further fault once there have been as many claims."""
    early: bool = False
    """Whether timers may come due before the operators that set them are done or dead, as if these were slow."""
    started: bool = True
    """Whether it begins with a pending workflow; otherwise an operator must "start" it."""

    def world(self) -> World:
        leases = frozenset(self.names)
        if not self.started:
            return World(leases=leases)
        state = State(revision=1)
        return World(state, 1, index=frozenset({FIRST.marker}), commands=(Command(1, "start"),), sent=1, leases=leases)

    @property
    def names(self) -> list[str]:
        return [f"P{number}" for number in range(self.processors)]


class Place(NamedTuple):
    """A state of the whole: the world, what each actor is at (all as numbers), and the faults that are left."""

    world: int
    actors: tuple[int, ...]
    looks: tuple[int, ...]
    deaths: int
    expiries: int
    repeats: int


class Move(NamedTuple):
    """One thing that happens. ``is_fault`` is what need not happen."""

    kind: str
    who: int = 0
    what: Any = None

    @property
    def is_fault(self) -> bool:
        return self.kind in {"die", "freeze", "repeat"}


class System:
    """The moves of a scenario from any place. Actors are numbered: processors first, then operators."""

    def __init__(self, scenario: Scenario, broken: str = "") -> None:
        self.scenario = scenario
        self.names = scenario.names
        self.protocol = Protocol(scenario.handler, broken)
        self._worlds = _Numbers()
        self._programs = _Numbers()
        self._programs.of("idle"), self._programs.of("dead")
        self._asked: dict[int, Operation] = {}
        self._after: dict[tuple[int, Any], int] = {}
        self._applied: dict[tuple[int, int], tuple[int, int]] = {}

    def begin(self) -> Place:
        operators = [self._enter("operate", (names,)) for names in self.scenario.operators]
        scenario = self.scenario
        actors = (*([IDLE] * scenario.processors), *operators)
        looks = (0,) * scenario.processors
        world = self._worlds.of(scenario.world())
        return Place(world, actors, looks, scenario.deaths, scenario.expiries, scenario.repeats)

    def world(self, place: Place) -> World:
        world: World = self._worlds[place.world]
        return world

    def asks(self, place: Place, who: int) -> Operation | None:
        """The operation that an actor does next."""
        return self._asked.get(place.actors[who])

    def result(self, place: Place, who: int, number: int) -> str:
        """What a step has returned to an actor that is about to record it, or to end with it."""
        asked = self._asked[place.actors[who]]
        if asked[0] == "append":
            return str(asked[1].value)
        _, (claim, *_), _ = self._programs[place.actors[who]]
        return str(claim.entry(number).value)

    def name(self, who: int) -> str:
        return self.names[who] if who < len(self.names) else f"O{who - len(self.names)}"

    def moves(self, place: Place) -> Iterator[Move]:  # noqa: C901, PLR0912 - one line for each kind of move
        world = self.world(place)
        processors = len(self.names)
        is_early = world.state is None or world.state.attempt < self.scenario.attempts
        for who, actor in enumerate(place.actors):
            if actor > DEAD:
                yield Move("act", who)
            if place.deaths and is_early and (actor > DEAD or (who < processors and actor == IDLE)):
                yield Move("die", who)
        for who, name in enumerate(self.names):
            actor = place.actors[who]
            if actor == IDLE:
                yield from (Move("deliver", who, c.sequence) for c in world.commands if not c.holder)
                if place.looks[who] and len(world.leases) < processors:
                    yield Move("look", who)
            if name in world.leases:
                if actor == DEAD or (place.expiries and is_early and actor > DEAD):
                    yield Move("expire" if actor == DEAD else "freeze", who)
            elif actor != DEAD:
                yield Move("renew", who)
        if self.scenario.early or not any(actor > DEAD for actor in place.actors[processors:]):
            yield from (Move("fire", what=name) for name in sorted(world.timers))
        for command in world.commands:
            if command.holder and place.actors[self.names.index(command.holder)] == DEAD:
                yield Move("redeliver", what=command.sequence)
            elif command.holder and place.repeats and is_early:
                yield Move("repeat", what=command.sequence)

    def after(self, place: Place, move: Move) -> Place:  # noqa: PLR0911 - one case for each kind of move
        """Raises ViolationError."""
        who, world = move.who, self.world(place)
        match move.kind:
            case "act":
                world_number, actor = self._act(place.world, place.actors[who], who)
                return place._replace(world=world_number, actors=_with(place.actors, who, actor))
            case "die":
                return place._replace(actors=_with(place.actors, who, DEAD), deaths=place.deaths - 1)
            case "deliver":
                given = next(c for c in world.commands if c.sequence == move.what)
                held = tuple(c._replace(holder=self.names[who]) if c is given else c for c in world.commands)
                actor = self._enter("claim", (self.names[who], given._replace(holder="")))
                place = place._replace(actors=_with(place.actors, who, actor))
                return self._at(place, world._replace(commands=held))
            case "look":
                dead = frozenset(self.names) - world.leases
                actor = self._enter("look", (self.names[who], dead))
                looks = _with(place.looks, who, place.looks[who] - 1)
                return place._replace(actors=_with(place.actors, who, actor), looks=looks)
            case "expire" | "freeze":
                looks = tuple(self.scenario.looks if other != who else left for other, left in enumerate(place.looks))
                place = place._replace(looks=looks, expiries=place.expiries - (move.kind == "freeze"))
                return self._at(place, world._replace(leases=world.leases - {self.names[who]}))
            case "renew":
                return self._at(place, world._replace(leases=world.leases | {self.names[who]}))
            case "fire":
                sent = world.sent + 1
                commands = (*world.commands, Command(sent, "wake"))
                return self._at(place, world._replace(timers=world.timers - {move.what}, sent=sent, commands=commands))
            case _:
                again = tuple(
                    c._replace(holder="", again=True) if c.sequence == move.what else c for c in world.commands
                )
                place = place._replace(repeats=place.repeats - (move.kind == "repeat"))
                return self._at(place, world._replace(commands=again))

    def _at(self, place: Place, world: World) -> Place:
        return place._replace(world=self._worlds.of(world))

    def _act(self, world: int, actor: int, who: int) -> tuple[int, int]:
        found = self._applied.get((world, actor))
        if found is None:
            after, answer = apply(self._worlds[world], self.name(who), self._asked[actor])
            found = self._applied[world, actor] = self._worlds.of(after), self._go_on(actor, answer)
        return found

    def _go_on(self, actor: int, answer: Any) -> int:
        found = self._after.get((actor, answer))
        if found is None:
            program, arguments, answers = self._programs[actor]
            found = self._after[actor, answer] = self._enter(program, arguments, (*answers, answer))
        return found

    def _enter(self, program: str, arguments: tuple[Any, ...], answers: tuple[Any, ...] = ()) -> int:
        """The number of an actor that has begun this program and was answered so; IDLE where that was its end.

        A generator cannot be copied: it is run again from its beginning, once for each number.
        """
        number = self._programs.of((program, arguments, answers))
        if number in self._asked:
            return number
        running = getattr(self.protocol, program)(*arguments)
        try:
            asked = next(running)
            for answer in answers:
                asked = running.send(answer)
        except StopIteration as ended:
            goto: Goto | None = ended.value
            return IDLE if goto is None else self._enter(goto.program, goto.arguments)
        self._asked[number] = asked
        return number


class _Numbers:
    def __init__(self) -> None:
        self._number: dict[Any, int] = {}
        self._thing: list[Any] = []

    def of(self, thing: Any) -> int:
        number = self._number.setdefault(thing, len(self._thing))
        if number == len(self._thing):
            self._thing.append(thing)
        return number

    def __getitem__(self, number: int) -> Any:
        return self._thing[number]


def _with(items: tuple[int, ...], index: int, item: int) -> tuple[int, ...]:
    return (*items[:index], item, *items[index + 1 :])
