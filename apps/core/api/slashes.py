from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class ForgiveMissingSlash:
    """`/api/v1/jobs/<uid>/stop` is `/api/v1/jobs/<uid>/stop/`: a redirect would turn a program's POST into a GET."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") and not request.path_info.endswith("/"):
            request.path_info += "/"
        return self.get_response(request)
