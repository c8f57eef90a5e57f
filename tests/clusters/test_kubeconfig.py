import base64
import datetime

import pytest
import urllib3
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.clusters.gateway.client import _pool
from apps.clusters.gateway.kubeconfig import inline_files, parse
from apps.clusters.gateway.streams import uses_proxy
from apps.core.errors import InvalidInput

from .kubeconfigs import kubeconfig


def b64(text):
    return base64.b64encode(text.encode()).decode()


def identity():
    """A self-signed certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cube")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


class TestAccepted:
    def test_a_token(self):
        config = parse(kubeconfig(server="https://cluster.example:6443/"))

        assert config.server == "https://cluster.example:6443"
        assert config.headers == {"Authorization": "Bearer s3cret-token"}
        assert config.verify

    def test_a_client_certificate_with_an_authority(self):
        certificate, key = identity()
        text = kubeconfig(
            cluster={"certificate-authority-data": b64(certificate), "tls-server-name": "inside"},
            user={"token": None, "client-certificate-data": b64(certificate), "client-key-data": b64(key)},
        )

        config = parse(text)

        assert config.server_name == "inside"
        assert config.client_key == key
        assert config.tls().get_ca_certs()[0]["subject"] == (((("commonName", "cube"),),))

    def test_plain_http_on_loopback_only(self):
        assert parse(kubeconfig(server="http://127.0.0.1:8001", user={"token": None})).is_loopback
        assert parse(kubeconfig(server="http://[::1]:8001")).tls() is None

    def test_other_contexts_do_not_matter(self):
        others = [{"name": "x", "user": {"exec": {"command": "id"}}}, {"name": "u", "user": {"token": "t"}}]

        assert parse(kubeconfig(users=others)).token == "t"

    def test_what_it_shows_of_itself_holds_no_secret(self):
        assert repr(parse(kubeconfig())) == "Kubeconfig('https://cluster.example:6443')"


BAD = {
    "empty": ("  ", "Paste the kubeconfig"),
    "no_yaml": ("a: [", "Not valid YAML (line 1)"),
    "control_characters": ("a: \x00", "Not valid YAML"),
    "a_bad_date": ("a: 2026-99-99", "Not valid YAML"),
    "a_list": ("- 1", "Not a kubeconfig"),
    "another_kind": ("kind: Pod", "Not a kubeconfig"),
    "too_long": (kubeconfig() + "#" * 70_000, "Longer than 64 KiB"),
    "aliases": ("a: &x [1]\nb: *x\n", "aliases"),
    "too_deep": ("a: " + "[" * 40 + "]" * 40, "Nested too deeply"),
    "endlessly_deep": ("[" * 60_000, "Nested too deeply"),
    "no_current_context": (kubeconfig(**{"current-context": None}), "No current-context"),
    "unknown_context": (kubeconfig(**{"current-context": "other"}), "exactly one entry named “other” under contexts"),
    "a_context_twice": (
        kubeconfig(contexts=[{"name": "main", "context": {"cluster": name, "user": "u"}} for name in "cd"]),
        "exactly one entry",
    ),
    "unknown_cluster": (kubeconfig(clusters=[]), "exactly one entry named “c” under clusters"),
    "contexts_no_list": (kubeconfig(contexts="main"), "exactly one entry"),
    "no_server": (kubeconfig(server=""), "not a URL"),
    "no_url": (kubeconfig(server="cluster.example:6443"), "not a URL"),
    "a_bad_port": (kubeconfig(server="https://c:99999999"), "not a URL"),
    "a_file_url": (kubeconfig(server="file:///etc/passwd"), "not a URL"),
    "a_line_break": (kubeconfig(server="https://c:1/\r\nX: y"), "not a URL"),
    "plain_http": (kubeconfig(server="http://10.0.0.1:8080"), "over https"),
    "user_in_url": (kubeconfig(server="https://me:pw@c"), "no user name"),
    "exec": (kubeconfig(user={"token": None, "exec": {"command": "id"}}), "running a program (exec)"),
    "auth_provider": (kubeconfig(user={"auth-provider": {"name": "gcp"}}), "running a program (auth-provider)"),
    "a_ca_file": (kubeconfig(cluster={"certificate-authority": "/etc/passwd"}), "certificate-authority"),
    "a_key_file": (kubeconfig(user={"client-key": "/etc/shadow"}), "only exists on your machine"),
    "a_token_file": (kubeconfig(user={"tokenFile": "/etc/passwd"}), "tokenFile"),
    "a_password": (kubeconfig(user={"username": "a", "password": "b"}), "no longer accepts user name"),
    "impersonation": (kubeconfig(user={"as": "root"}), "Impersonation"),
    "a_proxy": (kubeconfig(cluster={"proxy-url": "http://evil"}), "proxy-url"),
    "no_credentials": (kubeconfig(user={"token": None}), "Holds no credentials"),
    "a_number_as_token": (kubeconfig(user={"token": 5}), "must be text"),
    "a_header_in_the_token": (kubeconfig(user={"token": "a\r\nX-Evil: 1"}), "unprintable"),
    "no_base64": (kubeconfig(cluster={"certificate-authority-data": "%%%"}), "not base64"),
    "no_pem": (kubeconfig(cluster={"certificate-authority-data": b64("hello")}), "PEM"),
    "a_broken_ca": (
        kubeconfig(cluster={"certificate-authority-data": b64("-----BEGIN CERTIFICATE-----\nAA\n")}),
        "certificates cannot be used",
    ),
    "half_an_identity": (kubeconfig(user={"client-key-data": b64(identity()[1])}), "needs its key"),
    "a_key_that_does_not_fit": (
        kubeconfig(
            user={"client-certificate-data": b64(identity()[0]), "client-key-data": b64(identity()[1])},
        ),
        "certificates cannot be used",
    ),
}


class TestRefused:
    @pytest.mark.parametrize("case", BAD)
    def test_with_a_sentence_that_helps(self, case):
        text, expected = BAD[case]

        with pytest.raises(InvalidInput) as refused:
            parse(text)

        assert [*refused.value.fields] == ["kubeconfig"]
        assert expected in str(refused.value)
        assert "s3cret-token" not in str(refused.value)


class TestInlineFiles:
    def test_reads_what_an_operators_own_file_names(self, tmp_path):
        certificate, key = identity()
        (tmp_path / "c.pem").write_text(certificate)
        (tmp_path / "k.pem").write_text(key)
        text = kubeconfig(
            cluster={"certificate-authority": "c.pem"},
            user={"token": None, "client-certificate": str(tmp_path / "c.pem"), "client-key": "k.pem"},
        )

        config = parse(inline_files(text, tmp_path))

        assert (config.ca, config.client_certificate, config.client_key) == (certificate, certificate, key)

    def test_keeps_the_current_context_alone(self, tmp_path):
        """Another context's files may be missing and its credentials are not ours to keep."""
        document = yaml.safe_load(kubeconfig())
        document["contexts"].append({"name": "other", "context": {"cluster": "d", "user": "v"}})
        document["clusters"].append({"name": "d", "cluster": {"server": "https://d", "certificate-authority": "gone"}})
        document["users"].append({"name": "v", "user": {"token": "another-token"}})

        kept = inline_files(yaml.safe_dump(document), tmp_path)

        assert yaml.safe_load(kept) == yaml.safe_load(kubeconfig())

    def test_says_which_file_is_missing(self, tmp_path):
        with pytest.raises(InvalidInput, match=r"nowhere\.pem, which cannot be read"):
            inline_files(kubeconfig(cluster={"certificate-authority": "nowhere.pem"}), tmp_path)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://10.1.2.3:6443", False),
        ("https://api.corp.example:6443", False),
        ("https://127.0.0.1:6443", False),
        ("https://203.0.113.9:6443", True),
    ],
)
def test_logs_pass_the_proxy_that_everything_else_passes(monkeypatch, server, expected):
    """Address ranges in NO_PROXY are how a private network is usually written."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "10.0.0.0/8,.corp.example")
    config = parse(kubeconfig(server=server))

    assert uses_proxy(config) is expected
    assert isinstance(_pool(config), urllib3.ProxyManager) is expected
