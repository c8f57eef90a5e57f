"""`CONTENT_SECURITY_POLICY` everywhere, except that two places get what their third parties cannot do without."""

from typing import Any

from csp.constants import NONCE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Unfold's pages are Alpine expressions, which are evaluated, and carry their palette in a <style>.
ADMIN: dict[str, Any] = {"script-src": [SELF, NONCE, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}

# xterm.js draws letter spacing and true colours as style attributes. Its <style> elements need nothing: the page gives
# them the nonce (static/js/terminal/styles.js). Nothing from a container becomes markup: xterm.js writes text nodes.
TERMINAL: dict[str, Any] = {"style-src-attr": [UNSAFE_INLINE]}


class ContentSecurityPolicy(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if not report_only and match and match.app_name == "admin":
            parts.replace = {**(parts.replace or {}), **ADMIN}
        if not report_only and match and match.view_name == "jobs:terminal":
            parts.replace = {**(parts.replace or {}), **TERMINAL}
        return parts
