"""What no room should have to think of."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .api.problems import malformed_address


class RefuseNul:
    """PostgreSQL takes no NUL character, so an address with one can name nothing; without this it would be a 500."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path_info or "%00" in query or "\x00" in query:
            return malformed_address(request)
        return self.get_response(request)
