"""Visiting every place of a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.protocol.world import ViolationError, find_leftover

if TYPE_CHECKING:
    from helpers.protocol.explorer import Move, System


@dataclass
class Explored:
    """``path`` leads to what is wrong."""

    states: int = 0
    moves: int = 0
    depth: int = 0
    ends: int = 0
    worlds: int = 0
    wrong: str = ""
    path: tuple[Move, ...] = ()


def explore(system: System) -> Explored:  # noqa: C901 - one search, told in its order
    """Breadth first, to the end. Every end must be well, and an end must be in reach from everywhere."""
    found, scenario = Explored(), system.scenario
    first = system.begin()
    places = [first]
    number = {first: 0}
    came: list[tuple[int, Move | None]] = [(0, None)]
    before: list[list[int]] = [[]]
    ends: list[int] = []
    levels = [0]

    def fail(at: int, what: str, *moves: Move) -> Explored:
        path = list(moves)
        while at:
            at, move = came[at]
            assert move is not None
            path.append(move)
        found.wrong, found.path = what, tuple(reversed(path))
        found.states = len(places)
        return found

    at = 0
    while at < len(places):
        place = places[at]
        is_end = True
        for move in system.moves(place):
            try:
                following = system.after(place, move)
            except ViolationError as violation:
                return fail(at, str(violation), move)
            found.moves += 1
            to = number.setdefault(following, len(places))
            if to == len(places):
                places.append(following)
                came.append((at, move))
                levels.append(levels[at] + 1)
                before.append([])
            if not move.is_fault:
                is_end = False
                before[to].append(at)
        if is_end:
            wrong = find_leftover(system.world(place), may_leave=scenario.expiries > 0 and scenario.deaths > 0)
            if wrong:
                return fail(at, wrong)
            ends.append(at)
        at += 1
    found.states, found.depth, found.ends = len(places), levels[-1], len(ends)
    found.worlds = len({place.world for place in places})
    reached = bytearray(len(places))
    todo = ends
    while todo:
        here = todo.pop()
        if not reached[here]:
            reached[here] = 1
            todo.extend(before[here])
    stuck = reached.find(0)
    return found if stuck < 0 else fail(stuck, "it goes round for ever")
