"""Which addresses a webhook may lead to. Tenants are hostile: Cube must not knock on doors of the inside for them.

Only addresses that are public to the whole Internet are called, and those in `CUBE_ALERT_PRIVATE_NETWORKS`. What a name
means is looked up once, checked, and exactly that address is called: a name that changes its meaning gains nothing.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

from .base import Refused, Unavailable

LONGEST = 2000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def problem_of(url: str) -> str:
    """What is wrong with the way an address is written; empty when nothing is. Looks nothing up."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "syntax"
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > LONGEST or parts.scheme not in {"http", "https"} or not host or port == 0:
        return "syntax"
    if parts.username is not None or parts.password is not None:
        return "credentials"
    literal = as_address(host)
    if host.rstrip(".").lower() == "localhost" or (literal is not None and not may_call(literal)):
        return "private"
    return ""


def as_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def may_call(address: Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    for network in settings.CUBE_ALERT_PRIVATE_NETWORKS:
        if mapped in ipaddress.ip_network(network, strict=False):
            return True
    if isinstance(mapped, ipaddress.IPv6Address) and (mapped.sixtofour or mapped.teredo or _is_nat64(mapped)):
        return False  # They lead to an IPv4 address that is written inside them.
    return mapped.is_global and not mapped.is_multicast


def _is_nat64(address: ipaddress.IPv6Address) -> bool:
    return address in ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> str:
    """One address to call. Raises Unavailable without any, Refused when one of them may not be called."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable("The name in the address is not known.") from None
    addresses = [as_address(str(entry[4][0])) for entry in found]
    if any(address is None or not may_call(address) for address in addresses):
        raise Refused("The address leads to a private network, which webhooks may not call.")
    return str(found[0][4][0])
