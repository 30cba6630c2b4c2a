"""The sample app: what `durablectl demo` and `durablectl dev` run when they are given no other.

Read workflows.py first; services.py is what they call. `durablectl run processor path/to/file.py` runs one of your own.
"""

from durablectl.demo.services import HelloService, TicketService
from durablectl.demo.workflows import (
    add_ticket_to_cart,
    async_workflow,
    flaky_workflow,
    greet_many,
    hello_workflow,
    slow_workflow,
)

__all__ = [
    "HelloService",
    "TicketService",
    "add_ticket_to_cart",
    "async_workflow",
    "flaky_workflow",
    "greet_many",
    "hello_workflow",
    "slow_workflow",
]
