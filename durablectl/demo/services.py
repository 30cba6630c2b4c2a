"""Services that the sample workflows call. Hosted, each is a NATS micro service, reachable by any NATS client."""

from durablectl import service
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.demo._proto.tickets_pb2 import ReleaseRequest, ReleaseResponse, ReserveRequest, ReserveResponse


@service("HelloService")
class HelloService:
    """Greets."""

    async def SayHello(self, request: HelloRequest) -> HelloResponse:
        return HelloResponse(message=f"Hello, {request.name}!")


@service("TicketService")
class TicketService:
    """Knows who holds which ticket, for as long as the process lives; a real one would keep that in a database."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}

    async def Reserve(self, request: ReserveRequest) -> ReserveResponse:
        """Asking twice is answered twice the same: after a crash a workflow may ask again."""
        holder = self._holders.setdefault(request.ticket_id, request.user_id)
        if holder != request.user_id:
            return ReserveResponse(reserved=False)
        return ReserveResponse(reserved=True, reservation_id=f"{request.ticket_id}:{request.user_id}")

    async def Release(self, request: ReleaseRequest) -> ReleaseResponse:
        ticket_id, _, user_id = request.reservation_id.partition(":")
        if self._holders.get(ticket_id) != user_id:
            return ReleaseResponse(released=False)
        del self._holders[ticket_id]
        return ReleaseResponse(released=True)
