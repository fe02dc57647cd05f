"""The admin app: what stands where and the orders that change it, on a port of its own."""

from fastapi import FastAPI

from service.api.operating import operating_routes
from service.api.order_door import OrderDoor
from service.api.problems import install_problems
from service.api.replica import Replica, replica_routes
from service.control.plane import ControlPlane


def create_admin_app(plane: ControlPlane, replica: Replica, secret: bytes | None) -> FastAPI:
    """The admin app of one replica.

    Args:
        plane: carries out orders.
        replica: its workers.
        secret: the admin key; None: no key is asked for. Probes and metrics never ask for it.

    Returns:
        The app; what is refused is a problem document with the exact reason.
    """
    app = FastAPI(title="ChoirRec Serving, administration", docs_url=None, redoc_url=None)
    install_problems(app)
    app.add_middleware(OrderDoor, secret=secret)
    app.include_router(operating_routes(plane))
    app.include_router(replica_routes(replica))
    return app
