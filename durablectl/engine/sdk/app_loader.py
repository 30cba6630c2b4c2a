"""Loading the app: the module or file in which an author defines workflows and services."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from durablectl.engine.sdk.registry import SERVICE_ATTRIBUTE, Service, Workflow
from durablectl.errors import AppError, ConfigurationError, DurableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SAMPLE_APP = "durablectl.demo"


@dataclass
class App:
    """What processors and service hosts run. ``names`` is how the app was given, ``source`` from where."""

    names: tuple[str, ...] = ()
    source: str = ""
    workflows: dict[str, Workflow] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)

    def add(self, values: Iterable[Any]) -> None:
        """Collect workflows and services among ``values``. AppError when two of one name differ."""
        for value in values:
            if isinstance(value, Workflow):
                _register("workflows", self.workflows, value.name, value)
            else:
                definition = getattr(value, "__dict__", {}).get(SERVICE_ATTRIBUTE)
                if isinstance(definition, Service):
                    _register("services", self.services, definition.name, definition)


def _register(what: str, table: dict[str, Any], name: str, value: Any) -> None:
    if table.setdefault(name, value) is not value:
        raise AppError(f"Two {what} are named {name!r}.", hint="Give one of them another name.")


def choose_app(given: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[tuple[str, ...], str]:
    """The app's names and from where: the command line, DURABLECTL_APP, ./pyproject.toml, else the sample."""
    if given:
        return tuple(given), "the command line"
    if environ.get("DURABLECTL_APP"):
        return tuple(environ["DURABLECTL_APP"].split()), "DURABLECTL_APP"
    from_project = _from_pyproject(Path("pyproject.toml"))
    if from_project:
        return from_project, "pyproject.toml"
    return (SAMPLE_APP,), "sample"


def _from_pyproject(path: Path) -> tuple[str, ...]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"./pyproject.toml cannot be read: {error}.") from error
    app = settings.get("tool", {}).get("durablectl", {}).get("app", [])
    if isinstance(app, str):
        return (app,)
    if isinstance(app, list) and all(isinstance(name, str) for name in app):
        return tuple(app)
    raise ConfigurationError("In ./pyproject.toml, [tool.durablectl] app must be a string or a list of strings.")


def load_app(names: Sequence[str], source: str = "") -> App:
    """Import each ``module``, ``module:attribute`` or ``path/to/file.py`` and collect what it defines.

    Raises AppError, with the frames of the app's own code, when an import fails or nothing is found.
    """
    app = App(tuple(names), source)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        app.add(_contents(name))
    if not app.workflows and not app.services:
        raise AppError(
            f"The app {' '.join(names)} defines no workflow and no service.",
            hint="Mark coroutines with @workflow and classes with @service(...).",
        )
    return app


def _contents(name: str) -> list[Any]:
    module_name, _, attribute = name.partition(":")
    is_file = module_name.endswith(".py") or os.sep in module_name
    module = _load_file(Path(module_name)) if is_file else _import(module_name)
    if not attribute:
        return list(vars(module).values())
    try:
        value = getattr(module, attribute)
    except AttributeError as error:
        raise AppError(f"The module {module_name} has no attribute {attribute!r}.") from error
    if isinstance(value, ModuleType):
        return list(vars(value).values())
    if isinstance(value, (list, tuple, set)):
        return list(value)
    return [value]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise AppError(
                f"There is no module {name!r}.",
                hint="Name a module, module:attribute, or a path that ends in .py; the current directory is searched.",
            ) from error
        raise _import_failed(name, error) from error
    except DurableError as error:
        raise AppError(f"The app {name} cannot be loaded: {error.message}", hint=error.hint) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise AppError(f"There is no file {path}.", hint="Name a module, module:attribute, or a path to a Python file.")
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None or not name.isidentifier():
        name = f"durablectl_app_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppError(f"The file {path.name} is not a Python module.", hint="Its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except DurableError as error:
        raise AppError(f"The app {path.name} cannot be loaded: {error.message}", hint=error.hint) from error
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _import_failed(str(path), error) from error
    return module


def _import_failed(name: str, error: BaseException) -> AppError:
    """The error with the frames that belong to the app, not to Python's import machinery or to us."""
    ours = str(Path(__file__).parents[1])
    frames = [
        traceback.FrameSummary(frame.filename, frame.lineno, frame.name, lookup_line=False, line=frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", ours)) and "importlib" not in frame.filename
    ]
    shown = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
    return AppError(f"The app {name} failed to import: {type(error).__name__}: {error}", hint="".join(shown).rstrip())
