import base64
import hashlib
import hmac
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest
from django.core import mail

from apps.alerts.notifiers import Message, Refused, Target, Unavailable, addresses
from apps.alerts.notifiers.email import EmailNotifier
from apps.alerts.notifiers.webhook import WebhookNotifier

MESSAGE = Message(key="k-1", subject="[Cube] x\nfailed", text="It failed.\n", payload={"type": "test", "text": "x"})


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_args):
        """Quiet."""


@pytest.fixture
def hook(settings):
    settings.CUBE_ALERT_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.asked, server.status = [], 204
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class TestWebhook:
    def test_posts_signed_json_with_its_key(self, hook):
        WebhookNotifier().send(Target(url=hook.url, signing_secret="shh"), MESSAGE)

        path, headers, body = hook.asked[0]
        signed = f"k-1.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(b"shh", signed, hashlib.sha256).digest()).decode()
        assert (path, orjson.loads(body)) == ("/hook", {"type": "test", "text": "x"})
        assert (headers["Idempotency-Key"], headers["webhook-id"]) == ("k-1", "k-1")
        assert headers["webhook-signature"] == f"v1,{digest}"

    @pytest.mark.parametrize(
        ("status", "error"), [(302, Refused), (404, Refused), (429, Unavailable), (503, Unavailable)]
    )
    def test_judges_the_answer_by_its_status_and_follows_nothing(self, hook, status, error):
        hook.status = status

        with pytest.raises(error, match=str(status)):
            WebhookNotifier().send(Target(url=hook.url), MESSAGE)

        assert [path for path, _headers, _body in hook.asked] == ["/hook"]

    def test_nobody_there_may_pass(self, hook):
        hook.shutdown()
        hook.server_close()

        with pytest.raises(Unavailable):
            WebhookNotifier().send(Target(url=hook.url), MESSAGE)

    def test_an_answer_that_never_ends_is_cut(self, hook, monkeypatch):
        monkeypatch.setattr("apps.alerts.notifiers.webhook.WHOLE_SECONDS", 0.1)
        held = threading.Event()
        monkeypatch.setattr(Hook, "do_POST", lambda _self: held.wait(5))

        with pytest.raises(Unavailable):
            WebhookNotifier().send(Target(url=hook.url), MESSAGE)

        held.set()

    def test_a_name_that_leads_inside_is_not_called(self, hook, settings, monkeypatch):
        settings.CUBE_ALERT_PRIVATE_NETWORKS = []
        inside = [(2, 1, 6, "", ("127.0.0.1", hook.server_port))]
        monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_args, **_more: inside)

        with pytest.raises(Refused, match="private network"):
            WebhookNotifier().send(Target(url=f"http://public.example.com:{hook.server_port}/"), MESSAGE)

        assert hook.asked == []

    def test_secrets_stay_out_of_words(self):
        target = Target(url="https://example.com/s3cr3t", signing_secret="shh")

        assert "s3cr3t" not in repr(target)
        assert "shh" not in repr(target)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("10.1.2.3", False), ("192.168.0.1", False),
        ("100.64.0.1", False), ("169.254.169.254", False), ("240.0.0.1", False), ("224.0.0.1", False),
        ("fe80::1", False), ("fd00::1", False), ("::1", False), ("::ffff:10.0.0.1", False), ("2002:a00:1::", False),
        ("64:ff9b::a00:1", False), ("255.255.255.255", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_called(text, allowed):
    assert addresses.may_call(addresses.as_address(text)) is allowed


class TestEmail:
    def test_one_message_to_all(self):
        EmailNotifier().send(Target(addresses=("a@example.com", "b@example.com")), MESSAGE)

        (sent,) = mail.outbox
        assert (sent.to, sent.subject) == (["a@example.com", "b@example.com"], "[Cube] x failed")
        assert sent.message()["Message-ID"] == "<k-1@cube>"

    def test_a_server_that_is_away_may_pass(self, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9

        with pytest.raises(Unavailable):
            EmailNotifier().send(Target(addresses=("a@example.com",)), MESSAGE)
