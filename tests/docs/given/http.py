"""The reader's apps in docs/http.md."""

from typing import Any

import vmsdk as vmsdk

fastapi_app: Any = None
flask_app: Any = None
header: Any = None
Greeter: Any = None
GreeterASGIApplication: Any = None


class Service:
    def __init__(self, vm: Any = None) -> None: ...

    def ping(self) -> str:
        return "pong"
