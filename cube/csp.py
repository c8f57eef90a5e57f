"""`CONTENT_SECURITY_POLICY` everywhere, except where a page of a library cannot do without more.

Scripts come from this server alone, everywhere.
"""

from typing import Any

from csp.constants import NONCE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Unfold's pages are Alpine expressions, which are evaluated, and carry their palette in a <style>.
ADMIN: dict[str, Any] = {"script-src": [SELF, NONCE, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}
# Swagger's page has one inline style sheet.
API_PAGE: dict[str, Any] = {"style-src": [SELF, UNSAFE_INLINE]}


class ContentSecurityPolicy(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if not report_only and match:
            needed = ADMIN if match.app_name == "admin" else API_PAGE if match.view_name == "api-docs" else {}
            parts.replace = {**(parts.replace or {}), **needed}
        return parts
