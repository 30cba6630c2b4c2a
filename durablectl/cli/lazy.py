"""Commands that cost what they need: their modules are imported when they are asked for, and pydantic hardly ever."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

_PARSING: type[BaseException] = typer.BadParameter.__mro__[1]
"""The usage error of what Typer is built on."""

_WHOLE_NUMBER = re.compile(r"-?\d{1,15}", re.ASCII)


class LazyTarget(NamedTuple):
    """Where a command's function is, ``module:function`` in durablectl.cli.commands, and its panel in the help."""

    target: str
    panel: str | None = None


class LazyCommand(TyperCommand):
    """A command whose plain parameters are converted without pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plain(parameter) for parameter in super().get_params(ctx)]


class LazyGroup(TyperGroup):
    """A group that makes the commands of ``lazy`` when they are looked up; their help is drawn as its own."""

    lazy: ClassVar[Mapping[str, LazyTarget]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands(self.lazy, self.commands)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # of the method that it overrides
        return [*self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command: Any = super().get_command(ctx, cmd_name)
        if command is not None:
            _draw_as(command, self.rich_markup_mode)
        return command

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plain(parameter) for parameter in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Look a command up; an unknown one is answered with where it is, if another group has it."""
        try:
            return super().resolve_command(ctx, args)
        except _PARSING as error:
            root = ctx.find_root()
            elsewhere = _paths_of(root.command, root.command_path, args[0], but=ctx.command_path)
            is_alike_here = "Did you mean" in str(getattr(error, "message", "")) and args[0] not in {
                path.rpartition(" ")[2] for path in elsewhere
            }
            if elsewhere and not is_alike_here and isinstance(message := getattr(error, "message", None), str):
                asked = message.partition(" Did you mean")[0]
                error.message = f"{asked} Did you mean {', '.join(f'`{path}`' for path in elsewhere)}?"  # type: ignore[attr-defined]
            raise


def _paths_of(root: Any, path: str, name: str, *, but: str) -> list[str]:
    """The command lines of this name in other groups, or of one spelt alike; no command is made for that."""
    groups = {path: root} | {f"{path} {key}": root.commands.made(key) for key in root.commands}
    known = {of: [*getattr(group, "commands", {})] for of, group in groups.items() if of != but}
    found = [f"{of} {name}" for of, names in known.items() if name in names]
    if found:
        return found
    import difflib  # only a mistake needs it

    return [f"{of} {close}" for of, names in known.items() for close in difflib.get_close_matches(name, names, 1, 0.8)]


def _draw_as(command: Any, mode: Any) -> None:
    command.rich_markup_mode = mode
    if not isinstance(command, LazyGroup):
        for child in getattr(command, "commands", {}).values():
            _draw_as(child, mode)


class _Commands(Mapping[str, Any]):
    """Those of ``lazy``, and those that are there already."""

    def __init__(self, lazy: Mapping[str, LazyTarget], made: Mapping[str, Any]) -> None:
        self._lazy = lazy
        self._made = dict(made)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, self._lazy[name])
        return self._made[name]

    def made(self, name: str) -> Any:
        """The command if it is there already, else None."""
        return self._made.get(name)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._lazy, *self._made])

    def __len__(self) -> int:
        return len({*self._lazy, *self._made})


def _make(name: str, lazy: LazyTarget) -> Any:
    module, _, function = lazy.target.partition(":")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command = getattr(import_module(f"durablectl.cli.commands.{module}"), function)
    single.command(name, cls=LazyCommand, rich_help_panel=lazy.panel)(command)
    return typer.main.get_command(single)


def _plain(parameter: Any) -> Any:
    """The parameter, converting values as before, but those at once that need no converting.

    Typer has pydantic convert even what was not given, and its import costs a quarter of what `wf list` takes.
    """
    if "process_value" not in vars(parameter):
        parameter.process_value = functools.partial(_process, parameter, parameter.process_value)
    return parameter


def _process(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    if value is None and (not parameter.required or context.resilient_parsing):
        value = () if parameter.multiple or parameter.nargs == -1 else None
    elif not _is_plain(parameter, value):
        return process(context, value)
    elif isinstance(value, tuple):
        value = [*value]
    elif parameter.type_descriptor.annotation is int:
        value = int(value)
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _is_plain(parameter: Any, value: Any) -> bool:
    """Whether a given value is right as it is, or a whole number in range; not known of a Typer without pydantic."""
    described = getattr(parameter, "type_descriptor", None)
    if described is None or described.parameter_info.parser is not None:
        return False
    if described.annotation is str:
        return isinstance(value, str)
    if described.annotation == list[str]:
        return isinstance(value, tuple | list) and bool(value) and all(isinstance(each, str) for each in value)
    if described.annotation is not int or not _WHOLE_NUMBER.fullmatch(str(value)):
        return False
    info, number = described.parameter_info, int(value)
    return not info.clamp and (info.min is None or number >= info.min) and (info.max is None or number <= info.max)
