"""Schedules of the model for the real code to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from helpers.protocol.explorer import Move, Place, System


def covering(system: System, depth: int) -> Iterator[list[Move]]:
    """Schedules that go to their end and take, together, every move from every place within ``depth``."""
    paths: dict[Place, list[Move]] = {system.begin(): []}
    found = list(paths)
    for place in found:
        for move in system.moves(place) if len(paths[place]) < depth else ():
            following = system.after(place, move)
            if following not in paths:
                paths[following] = [*paths[place], move]
                found.append(following)
    taken: set[tuple[Place, Move]] = set()
    for place, path in reversed(paths.items()):
        for move in system.moves(place) if len(path) < depth else ():
            if (place, move) not in taken:
                schedule = to_the_end(system, [*path, move])
                taken |= set(zip(_places(system, schedule), schedule, strict=False))
                yield schedule


def to_the_end(system: System, moves: list[Move]) -> list[Move]:
    """Without any more faults."""
    *_, place = _places(system, moves)
    moves = list(moves)
    while move := next((each for each in system.moves(place) if not each.is_fault), None):
        place = system.after(place, move)
        moves.append(move)
    return moves


def chosen(system: System, choices: list[int]) -> list[Move]:
    """As these numbers decide, as long as there are any; then to the end."""
    place = system.begin()
    moves: list[Move] = []
    for choice in choices:
        possible = list(system.moves(place))
        if not possible:
            break
        moves.append(possible[choice % len(possible)])
        place = system.after(place, moves[-1])
    return to_the_end(system, moves)


def _places(system: System, moves: list[Move]) -> list[Place]:
    places = [system.begin()]
    for move in moves:
        places.append(system.after(places[-1], move))
    return places


def steered(system: System, orders: Iterable[tuple[str, int, str]]) -> list[Move]:
    """As ordered: (a kind of move, who, the operation before which to stop acting; empty for until done)."""
    place = system.begin()
    moves: list[Move] = []
    for kind, who, stop in orders:
        while move := next((each for each in system.moves(place) if (each.kind, each.who) == (kind, who)), None):
            asked = system.asks(place, who)
            if kind == "act" and asked and asked[0] == stop:
                break
            place = system.after(place, move)
            moves.append(move)
            if kind != "act":
                break
    return to_the_end(system, moves)
