"""`CONTENT_SECURITY_POLICY` everywhere, except that the admin console gets what Unfold cannot do without."""

from typing import Any

from csp.constants import NONCE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Unfold's pages are Alpine expressions, which are evaluated, and carry their palette in a <style>.
ADMIN: dict[str, Any] = {"script-src": [SELF, NONCE, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


class ContentSecurityPolicy(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if not report_only and match and match.app_name == "admin":
            parts.replace = {**(parts.replace or {}), **ADMIN}
        return parts
