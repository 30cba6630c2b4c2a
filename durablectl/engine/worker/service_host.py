"""Hosting ``@service`` classes as NATS micro services."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from durablectl.errors import AppError, InvalidValueError, TerminalError
from durablectl.limits import checked_seconds
from durablectl.model.records import Payload
from durablectl.model.text import message_of, type_of
from durablectl.model.values import decode_value, encode_value, is_message, message_to_json, parse_message
from durablectl.storage.connection.micro_services import JSON, PROTOBUF, Endpoint, Incoming, Outgoing, ServiceHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from durablectl.engine.sdk.registry import Method, Service
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_BAD_REQUEST = "400"
_TERMINAL = "422"
_INTERNAL = "500"


@contextlib.asynccontextmanager
async def hosted(store: Store, services: Iterable[Service], *, grace: float = 10.0) -> AsyncIterator[None]:
    """Serve these classes until the block ends; requests under way then have ``grace`` seconds."""
    checked_seconds(grace, "The grace of a service host")
    hosts: list[ServiceHost] = []
    try:
        for service in services:
            host = ServiceHost(store, service.name, service.version, (service.cls.__doc__ or "").strip())
            hosts.append(host)
            await host.start(_endpoints(service))
            _log.info("Service %s serves: %s.", service.name, ", ".join(m.name for m in service.methods))
        yield
    finally:
        await asyncio.gather(*(host.stop(grace) for host in hosts))


def _endpoints(service: Service) -> list[Endpoint]:
    try:
        instance = service.cls()
    except Exception as error:
        raised = f"{service.cls.__name__}() raised {type(error).__name__}: {error}"
        raise AppError(f"The service {service.name!r} cannot be made: {raised}") from error
    return [_endpoint(service, instance, method) for method in service.methods]


def _endpoint(service: Service, instance: Any, method: Method) -> Endpoint:
    function = getattr(instance, method.attribute)
    subject = f"{service.name}.{method.name}"

    async def handle(incoming: Incoming) -> Outgoing:
        try:
            request = _decode(incoming, method)
        except InvalidValueError as error:
            return Outgoing(error=error.message, error_code=_BAD_REQUEST)
        try:
            return _encode(await function(request), incoming.content_type, subject)
        except TerminalError as error:
            return Outgoing(error=message_of(error), error_code=_TERMINAL)
        except InvalidValueError as error:
            return Outgoing(error=error.message, error_code=_INTERNAL)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            _log.exception("%s failed.", subject)
            return Outgoing(error=f"{type_of(error)}: {message_of(error)}", error_code=_INTERNAL)

    return Endpoint(method.name, subject, handle)


def _decode(incoming: Incoming, method: Method) -> Any:
    """Without a content type, the method's own: protobuf where its request is annotated with a message class."""
    is_protobuf = incoming.content_type == PROTOBUF or (not incoming.content_type and method.request_type is not None)
    if not is_protobuf:
        value = decode_value(Payload(incoming.data))
        if method.request_type is None:
            return value
        return parse_message({} if value is None else value, method.request_type)
    if method.request_type is None:
        raise InvalidValueError(f"{method.name} takes JSON, and was sent a protobuf message.")
    try:
        return method.request_type.FromString(incoming.data)
    except Exception as error:
        name = method.request_type.DESCRIPTOR.full_name
        raise InvalidValueError(f"{method.name} takes a {name}, and was sent something else.") from error


def _encode(response: Any, content_type: str, subject: str) -> Outgoing:
    """A message answers in the form of the request: JSON to whoever sent JSON."""
    if is_message(response) and content_type == JSON:
        return Outgoing(json.dumps(message_to_json(response), ensure_ascii=False).encode(), JSON)
    payload = encode_value(response, f"the response of {subject}")
    return Outgoing(payload.data, PROTOBUF if payload.type_name else JSON)
