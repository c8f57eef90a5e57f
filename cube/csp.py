"""Where the strict content security policy cannot hold, and how far each place leaves it.

The portal's own pages never do. The admin console's theme evaluates the expressions of its templates (Alpine) and
writes its palette and the requests' indicator inline; without both, its menus, filters and dark mode are dead. The
page of the REST API has one inline style sheet. Scripts still come from this server alone, everywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

from csp.constants import NONCE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

INLINE_STYLES: Mapping[str, Any] = {"style-src": [SELF, UNSAFE_INLINE]}
ADMIN: Mapping[str, Any] = {"script-src": [SELF, NONCE, UNSAFE_EVAL], **INLINE_STYLES}


@sync_only_middleware
def relax_where_needed(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        match = request.resolver_match
        if match and match.app_name == "admin":
            response._csp_replace = ADMIN  # type: ignore[attr-defined]  # django-csp's own way to say it.
        elif match and match.view_name == "api-docs":
            response._csp_replace = INLINE_STYLES  # type: ignore[attr-defined]
        return response

    return answer
