"""Requests over one shared inbox: a future a request, one sweep for all time-outs.

nats-py's own ``request`` costs a timer and a task wrapper each; on the hot path that is as much as the publish itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import nats.errors

from durablectl.errors import (
    ConnectionFailedError,
    DurableError,
    NotProvisionedError,
    PermissionDeniedError,
    StorageError,
)
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.storage.connection.fast_publish import FastPublish
from durablectl.storage.connection.inline_dispatch import InlineDispatch
from durablectl.storage.connection.permissions import Violation, permission_denied, violation_in
from durablectl.storage.connection.rejections import (
    BusyError,
    ConnectionLostError,
    NoAnswerError,
    NoLeaderError,
    WrongSequenceError,
    answer_of,
    too_large,
    too_large_for_user,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nats.aio.msg import Msg

    from durablectl.storage.connection.connect import Client

_wire = logging.getLogger("durablectl.wire")

_USER_INFO = "$SYS.REQ.USER.INFO"
"""Every user may ask for their own permissions, unless denied."""
_TIME_SECONDS = 2.0
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
"""The condition of a compare-and-set; 0 stands for "no message on this subject"."""
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
"""The subject that EXPECTED is about, where that is not the one written to: the fence."""
TTL = "Nats-TTL"
"""After how long the server removes the message by itself: "90s"."""

_EXPIRY_CHECK_SECONDS = 0.25
_BUSY_PAUSE = 0.005
_ELECTION_SECONDS = 10.0
"""So long the leader of a stream is waited for: a cluster elects another within 4 to 9 s."""
_ELECTION_PAUSE = 0.1


class Ack(NamedTuple):
    """A stored message: its stream sequence, and whether the server had its Nats-Msg-Id already."""

    sequence: int
    duplicate: bool = False


class Request(NamedTuple):
    """One of the requests of ``Requests.exchange``; with ``may_exist`` a failed condition is as good as done."""

    subject: str
    payload: bytes = b""
    headers: dict[str, str] | None = None
    may_exist: bool = False


class _Pending:
    __slots__ = ("deadline", "future", "messages", "size", "subject")

    def __init__(
        self, subject: str, size: int, future: asyncio.Future[Any], deadline: float, messages: list[Msg] | None
    ) -> None:
        self.subject = subject
        self.size = size
        self.future = future
        self.deadline = deadline
        self.messages = messages

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # of several that fail together, one is raised


class Requests:
    """Publishes that are answered: JetStream acknowledgements, API calls, direct gets."""

    def __init__(self, nats_client: Client, timeout: float) -> None:
        self.has_streams = False
        """The streams have been seen: what no stream takes then waits for a leader, where there is a cluster."""
        self._nats = nats_client
        self._fast = FastPublish(nats_client)
        self._timeout = timeout
        self._prefix = ""
        self._tokens = itertools.count()
        self._pending: dict[str, _Pending] = {}
        self._expiry_task: asyncio.Task[None] | None = None
        self._reply_denial: PermissionDeniedError | None = None
        self._violations: list[Violation] | None = None
        self._loop = asyncio.get_running_loop()
        self._is_traced = _wire.isEnabledFor(logging.DEBUG)

    @property
    def is_cluster(self) -> bool:
        """Whether the server is one of several."""
        return bool(self._nats._server_info.get("cluster"))  # noqa: SLF001  # there is no other way to it

    @property
    def has_jetstream(self) -> bool:
        """Whether the server has it enabled, though maybe not for this account."""
        return bool(self._nats._server_info.get("jetstream"))  # noqa: SLF001  # there is no other way to it

    async def start(self) -> None:
        self._prefix = self._nats.new_inbox() + "."
        await self._nats.subscribe(self._prefix + "*", future=InlineDispatch(self._on_reply))
        self._expiry_task = asyncio.create_task(self._expire_late())

    async def stop(self) -> None:
        if self._expiry_task is not None:
            self._expiry_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._expiry_task
        self._fail_all(ConnectionFailedError("The connection was closed."))

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Ack:
        """A message stored by JetStream. WrongSequenceError when a condition in ``headers`` does not hold.

        A conditional publish that another one in flight blocks (10164, replicated streams only) is tried again, and so
        is any that nobody takes while the stream's cluster elects a leader.
        """
        began = self._loop.time()
        while True:
            reply = await (await self._start_request(subject, payload, headers, None)).future
            try:
                answer = answer_of(reply, subject)
            except (BusyError, NotProvisionedError, NoLeaderError) as error:
                await self._pause_before_retry(error, began)
            else:
                self.has_streams = True
                return Ack(answer["seq"], answer.get("duplicate", False))

    async def _pause_before_retry(self, error: DurableError, began: float) -> None:
        """A pause after what stored nothing and will be otherwise soon; raises what stays as it is."""
        elapsed = self._loop.time() - began
        if isinstance(error, BusyError):
            if elapsed > self._timeout:
                raise NoAnswerError(
                    "Another write of the same is under way, and the NATS servers do not end it."
                ) from error
            await asyncio.sleep(_BUSY_PAUSE)
            return
        if not (self.is_cluster and self.has_streams):
            raise error
        if elapsed > _ELECTION_SECONDS:
            raise NoLeaderError from error
        await asyncio.sleep(_ELECTION_PAUSE)

    async def call(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JetStream API request; StorageError carries the server's words."""
        asked_ns = time.monotonic_ns()
        reply = await self.send(subject, b"" if body is None else json.dumps(body).encode())
        answer = answer_of(reply, subject)
        if isinstance(timestamp := answer.get("ts"), str):
            SYSTEM_CLOCK.compare(timestamp, asked_ns)
        return answer

    async def ask_time(self) -> None:
        """Hear the server's time from the one answer that tells it without a stream. May be denied: DurableError."""
        asked_ns = time.monotonic_ns()
        reply = await self.send(_USER_INFO, b"", timeout=_TIME_SECONDS)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            SYSTEM_CLOCK.compare(str(json.loads(reply.data)["server"]["time"]), asked_ns)

    async def exchange(self, requests: Iterable[Request]) -> list[dict[str, Any]]:
        """Several unconditional publishes or API requests, sent in this order and awaited together; their answers.

        All are sent before the first error is raised. What stored nothing is sent again as ``publish`` does.
        """
        sent = [
            (request, await self._start_request(request.subject, request.payload, request.headers, None))
            for request in requests
        ]
        replies = [(request, await pending.future) for request, pending in sent]
        return [await self._answer(request, reply) for request, reply in replies]

    async def _answer(self, request: Request, reply: Msg) -> dict[str, Any]:
        began = self._loop.time()
        while True:
            try:
                return answer_of(reply, request.subject)
            except (BusyError, NotProvisionedError, NoLeaderError) as error:
                await self._pause_before_retry(error, began)
            except WrongSequenceError:
                if not request.may_exist:
                    raise
                return {}
            reply = await self.send(request.subject, request.payload, request.headers)

    async def send(
        self, subject: str, payload: bytes, headers: dict[str, str] | None = None, timeout: float | None = None
    ) -> Msg:
        """One request, one reply, whatever it says; ``timeout`` in seconds, the connection's own when None."""
        pending = await self._start_request(subject, payload, headers, None, timeout)
        message: Msg = await pending.future
        return message

    async def send_without_wait(self, subject: str) -> None:
        """A request whose answer nobody waits for: what it asks for would come about without it, later."""
        with contextlib.suppress(DurableError):
            await self._start_request(subject, b"", None, None)

    async def send_many(self, subject: str, payload: bytes) -> list[Msg]:
        """One request, replies up to the end-of-batch status, which is the last of the list."""
        pending = await self._start_request(subject, payload, None, [])
        messages: list[Msg] = await pending.future
        return messages

    async def _start_request(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str] | None,
        messages: list[Msg] | None,
        timeout: float | None = None,
    ) -> _Pending:
        size = len(payload) if headers is None else len(payload) + _header_size(headers)
        if size > self._nats.max_payload:
            # The server would close the connection: it counts the headers, nats-py does not.
            raise too_large(size, self._nats.max_payload)
        if self._reply_denial is not None:
            raise self._reply_denial
        if self._is_traced:
            _wire.debug("asked %s, %d bytes", subject, size)
        token = str(next(self._tokens))
        deadline = self._loop.time() + (self._timeout if timeout is None else timeout)
        pending = _Pending(subject, size, self._loop.create_future(), deadline, messages)
        self._pending[token] = pending
        try:
            await self._fast.publish(subject, payload, self._prefix + token, headers)
        except nats.errors.BadSubjectError as error:
            self._pending.pop(token, None)
            raise StorageError(f"{subject!r} is no subject: a record or message holds a name that is none.") from error
        except nats.errors.Error as error:
            self._pending.pop(token, None)
            raise ConnectionFailedError(f"The connection to the NATS server is gone: {error}.") from error
        return pending

    def _on_reply(self, message: Msg) -> None:
        token = message.subject[len(self._prefix) :]
        pending = self._pending.get(token)
        if pending is None:
            return
        if pending.messages is not None:
            pending.messages.append(message)
            pending.deadline = self._loop.time() + self._timeout
            if not (message.headers and message.headers.get("Status")):
                return
        del self._pending[token]
        if not pending.future.done():
            pending.future.set_result(message if pending.messages is None else pending.messages)

    async def _expire_late(self) -> None:
        while True:
            slept_at = self._loop.time()
            await asyncio.sleep(_EXPIRY_CHECK_SECONDS)
            now = self._loop.time()
            blocked = now - slept_at - _EXPIRY_CHECK_SECONDS
            if blocked > _EXPIRY_CHECK_SECONDS:
                # The loop did not run: answers may have come that were not read yet.
                for pending in self._pending.values():
                    pending.deadline += blocked
            expired = [token for token, pending in self._pending.items() if pending.deadline < now]
            for token in expired:
                self._pending.pop(token).fail(NoAnswerError("The NATS server did not answer in time."))

    def handle_server_error(self, words: str) -> bool:
        """The server, which answers nothing that it refuses, has said these words; whether they are dealt with."""
        if "maximum payload violation" in words.lower():
            self._fail_largest()
            return True
        violation = violation_in(words)
        if violation is None:
            return False
        subject = violation.subject.lower()
        if violation.action == "subscribe":
            if subject == f"{self._prefix}*".lower():
                self._reply_denial = permission_denied([Violation("subscribe", f"{self._prefix}*")])
                self._fail_all(self._reply_denial)
                return True
            return self._note(violation._replace(subject=self._subscribed(subject) or violation.subject))
        # Each is refused in words of its own, those sent first coming first. A domain's prefix is the connection's.
        token = next((token for token, sent in self._pending.items() if subject.endswith(sent.subject.lower())), None)
        if token is None:
            return self._note(violation)
        pending = self._pending.pop(token)
        pending.fail(permission_denied([Violation("publish", pending.subject)]))
        return True

    def _fail_largest(self) -> None:
        """The server has hung up on a message over the limit of this user or account, of which it told nothing."""
        token = max(self._pending, key=lambda each: self._pending[each].size, default=None)
        if token is not None:
            pending = self._pending.pop(token)
            self._nats.payload_limit = min(self._nats.max_payload, pending.size) - 1
            pending.fail(too_large_for_user(pending.size))

    def _subscribed(self, subject: str) -> str:
        """The subject of a subscription as it was written, by its lower-case form."""
        known = (each.subject for each in self._nats._subs.values())  # noqa: SLF001  # there is no other way to it
        return next((each for each in known if each.lower() == subject), "")

    def _note(self, violation: Violation) -> bool:
        """Whether someone records what is refused."""
        if self._violations is None:
            return False
        self._violations.append(violation)
        return True

    @contextlib.contextmanager
    def record_violations(self) -> Iterator[list[Violation]]:
        """What the server refuses during the block, other than requests that wait for an answer. Flush at its end."""
        violations: list[Violation] = []
        self._violations = violations
        try:
            yield violations
        finally:
            self._violations = None

    def connection_lost(self) -> None:
        """What was sent may or may not have arrived, and no reply will come: do not wait for it."""
        self._reply_denial = None  # the server says so again where it still refuses the inbox
        self._fail_all(ConnectionLostError("The connection to the NATS server was lost before it answered."))

    def _fail_all(self, error: Exception) -> None:
        for pending in self._pending.values():
            pending.fail(error)
        self._pending.clear()


def _header_size(headers: dict[str, str]) -> int:
    size = 12
    for key, value in headers.items():
        size += len(key) + len(value.encode()) + 4
    return size
