"""What must not be read: secrets of the job, patterns of admins, private keys. Heads and line counts stay."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from django.core.exceptions import ValidationError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.accounts.models import AuditEntry
from apps.accounts.roles import PlatformRole
from apps.core.errors import InvalidInput
from apps.logs import services
from apps.logs.expressions import check_expression
from apps.logs.masking import HEAD, Masker, masker_for
from apps.logs.models import MaskingPattern
from apps.logs.secretforms import forms_of
from apps.projects.choices import SecretKind
from apps.projects.services import set_secret
from tests.factories import TemplateVersionFactory, UserFactory

STAMP = b"2026-11-24T02:00:00.123456789Z"
SOME_PATTERNS = (r"\bhf_[A-Za-z0-9]{30,}", r"://[^\s/:@]*:([^\s/@]+)@", r"[0-9]{5,}", r"token=[^,]+")


def body_of(*texts, mark=b" "):
    return b"".join(STAMP + mark + text + b"\n" for text in texts)


def texts_of(body):
    return [line[HEAD:] for line in body.split(b"\n")[:-1]]


def masked(text, values=(), patterns=()):
    """One line's text after masking."""
    [found] = texts_of(Masker(values, tuple(patterns)).apply(body_of(text)))
    return found


texts = st.lists(st.binary(max_size=60).filter(lambda text: b"\n" not in text), max_size=8)
values = st.lists(
    st.text(st.characters(exclude_characters="*\n\r", codec="utf-8"), min_size=6, max_size=12), max_size=4
)


class TestAnyRecords:
    @settings(max_examples=300, deadline=None)
    @given(texts=texts, values=values, data=st.data(), mark=st.sampled_from([b" ", b"p", b"g"]))
    def test_keep_heads_and_number_and_lose_every_value(self, texts, values, data, mark):
        forms = {form for value in values for form in forms_of(value)}
        for form in forms:
            if data.draw(st.booleans()):
                texts = [*texts, data.draw(st.binary(max_size=5)).replace(b"\n", b"") + form + b"!"]
        body = body_of(*texts, mark=mark)
        masker = Masker(forms, SOME_PATTERNS)

        after = masker.apply(body)

        before_lines, after_lines = body.split(b"\n"), after.split(b"\n")
        assert [line[:HEAD] for line in after_lines] == [line[:HEAD] for line in before_lines]
        assert not [form for form in forms for text in texts_of(after) if form in text]
        assert masker.apply(after) == after

    @settings(max_examples=200, deadline=None)
    @given(texts=texts)
    def test_are_the_same_object_when_there_is_nothing_to_hide(self, texts):
        body = body_of(*texts)
        assume(b" PRIVATE KEY-----" not in body)

        assert Masker().apply(body) is body
        assert Masker([b"\xc3\xa4 value nobody has"]).apply(body) is body

    @settings(max_examples=200, deadline=None)
    @given(texts=texts)
    def test_are_masked_line_by_line_as_in_one_go(self, texts):
        masker = Masker([b"aaaaaa"], SOME_PATTERNS)

        together = masker.apply(body_of(*texts))

        assert together == b"".join(masker.apply(body_of(text)) for text in texts)


class TestMasker:
    def test_of_nothing_is_identity_for_nothing(self):
        assert Masker().apply(b"") == b""
        assert Masker([b"secret"]).apply(b"") == b""

    def test_does_not_take_a_time_for_a_secret(self):
        line = body_of(b"123456789Z and 123456789")

        assert Masker([b"123456789"]).apply(line) == body_of(b"***Z and ***")
        assert Masker([b"2026-11-24T02"]).apply(line) == line

    def test_hides_the_longest_of_overlapping_values(self):
        assert masked(b"see abcdefgh", [b"abcdef", b"abcdefgh"]) == b"see ***"

    def test_hides_a_value_where_a_pattern_begins_earlier(self):
        # The pattern hides its group only; its beginning is a secret of its own.
        found = masked(b"https://username1:pass@host", [b"username1"], [r"://[^\s/:@]*:([^\s/@]+)@"])

        assert found == b"https://***:***@host"

    def test_never_crosses_a_line(self):
        body = body_of(b"token=a", b"b", b"token=c,d")

        assert texts_of(Masker(patterns=(r"token=[^,]+", r"\s+x")).apply(body)) == [b"***", b"b", b"***,d"]

    def test_hides_a_group_of_any_of_several_patterns(self):
        patterns = [r"user=(\w+)", r"pass=(\w+)", r"pin=\d+"]

        assert masked(b"user=a pass=b pin=1", (), patterns) == b"user=*** pass=*** ***"

    def test_understands_the_end_of_a_line(self):
        assert texts_of(Masker(patterns=(r"\w+$",)).apply(body_of(b"a b", b"c d"))) == [b"a ***", b"c ***"]

    def test_hides_each_line_of_a_private_key(self):
        key = [b"-----BEGIN RSA PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED", b"", b"MIIEpAIBAAKCAQEA", b"q0==", b"end"]

        found = texts_of(Masker().apply(body_of(*key)))

        assert found == [*key[:3], b"***", b"***", b"end"]

    def test_hides_a_private_key_whose_beginning_was_in_an_earlier_chunk(self):
        found = texts_of(
            Masker().apply(body_of(b"hello there", b"MIIEpAIBAAKCAQEA", b"-----END PRIVATE KEY-----", b"abcd"))
        )

        assert found == [b"hello there", b"***", b"-----END PRIVATE KEY-----", b"abcd"]

    def test_takes_a_secret_of_a_quarter_mebibyte(self):
        value = "\n".join(f"line {number} of a large file" for number in range(9000))[: 256 * 1024]
        forms = list(forms_of(value))

        began = time.monotonic()
        found = masked(b"line 77 of a large file; line x", forms)

        assert found == b"***; line x"
        assert time.monotonic() - began < 30


class TestForms:
    VALUE = 'p@ss/w\u00f6rd "1"'

    @pytest.mark.parametrize(
        "write",
        [
            str,
            json.dumps,
            quote,
            lambda v: quote(v, safe=""),
            lambda v: base64.b64encode(v.encode()).decode(),
            lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
        ],
    )
    def test_are_hidden_however_they_are_written(self, write):
        found = masked(f"value: {write(self.VALUE)}!".encode(), list(forms_of(self.VALUE)))

        assert found in {b"value: ***!", b'value: "***"!'}

    @pytest.mark.parametrize("name", ["", "a", "ab", "abc", "robot"])
    def test_leave_at_most_a_few_bits_beside_another_text_in_base64(self, name):
        header = base64.b64encode(f"{name}:long-password-1234".encode())

        found = masked(b"Basic " + header, list(forms_of("long-password-1234")))

        assert b"***" in found
        rest = found.removeprefix(b"Basic ").replace(b"***", b"")
        assert len(rest) <= len(base64.b64encode(f"{name}:".encode())) + 4

    def test_are_one_for_each_line_of_a_value(self):
        forms = set(forms_of("first line\r\nno\nthird line"))

        assert {b"first line", b"third line"} <= forms
        assert b"no" not in forms
        assert all(b"\n" not in form and len(form) >= 6 for form in forms)

    def test_of_a_short_value_are_none(self):
        assert set(forms_of("12345")) == set()
        assert set(forms_of("")) == set()


class TestMaskerForAJob:
    @pytest.fixture
    def secret_job(self, job):
        job.template_version = TemplateVersionFactory(
            number=2, body={"image": "busybox", "secret_env": {"KEY": "api/API_KEY"}}
        )
        job.save()
        set_secret(project=job.project, name="api", data={"API_KEY": "open-sesame", "OTHER": "not-given"})
        set_secret(project=job.project, name="unused", data={"X": "never-asked-for"})
        registry = {"server": "registry.example.com", "username": "robot", "password": "pull-password"}
        set_secret(project=job.project, name="pull", kind=SecretKind.REGISTRY, data=registry)
        return job

    def test_hides_what_the_job_was_given_and_nothing_else(self, secret_job):
        line = b"open-sesame not-given never-asked-for pull-password " + base64.b64encode(b"robot:pull-password")

        found = texts_of(masker_for(secret_job).apply(body_of(line)))

        assert found == [b"*** not-given never-asked-for *** ***"]

    def test_hides_what_enabled_patterns_match(self, job):
        MaskingPattern.objects.create(name="Ours", expression=r"ours-\d+")
        MaskingPattern.objects.create(name="Off", expression=r"off-\d+", is_enabled=False)

        assert texts_of(masker_for(job).apply(body_of(b"ours-12 off-12"))) == [b"*** off-12"]

    @pytest.mark.parametrize(
        ("text", "after"),
        [
            (b"key AKIAIOSFODNN7EXAMPLE.", b"key ***."),
            (b"AWS_SECRET_ACCESS_KEY=" + b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"AWS_SECRET_ACCESS_KEY=***"),
            (b"ghp_" + b"a1" * 18, b"***"),
            (b"glpat-" + b"a1" * 10, b"***"),
            (b"token hf_" + b"a1" * 17, b"token ***"),
            (b'{"Authorization": "Bearer abcdefghijklmnop0123"}', b'{"Authorization": "Bearer ***"}'),
            (b"pulling https://me:hunter22@host/x", b"pulling https://me:***@host/x"),
            (b'k="-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END"', b'k="***"'),
            (
                b"bearer of good news, sk-learn, http://host:80/a@b",
                b"bearer of good news, sk-learn, http://host:80/a@b",
            ),
            (b"2026-11-24 epoch 3 sha256 " + b"0a" * 32, b"2026-11-24 epoch 3 sha256 " + b"0a" * 32),
        ],
    )
    def test_hides_the_usual_tokens_from_the_first_day(self, job, text, after):
        assert texts_of(masker_for(job).apply(body_of(text))) == [after]


class TestPatterns:
    @pytest.mark.parametrize("good", [r"a+", r"[^ ]+x", r"[\^]y", r"a\^b", r"(?i)key=(\S+)", r"x$", "ä+", r"[]^]z"])
    def test_are_accepted(self, good):
        check_expression(good)

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            ("(", "RE2 cannot read"),
            (r"(a)\1", "RE2 cannot read"),
            ("a(?=b)", "RE2 cannot read"),
            ("a*", "hide every line"),
            ("$", "hide every line"),
            ("(a)(b)", "one group"),
            ("^a", "anywhere in a line"),
            (r"\Aa", "anywhere in a line"),
            (r"x|[^a]b|(?:^c)", "anywhere in a line"),
        ],
    )
    def test_are_refused(self, bad, words):
        with pytest.raises(ValidationError, match=words):
            check_expression(bad)

    def test_are_saved_with_a_trace(self, db):
        actor = UserFactory()

        pattern = services.save_pattern(pattern=MaskingPattern(name="Ours", expression="ours-.*"), actor=actor)

        entry = AuditEntry.objects.get(action="masking.create")
        assert (entry.actor, entry.target, entry.detail["expression"]) == (actor, "Ours", "ours-.*")
        services.delete_pattern(pattern=pattern, actor=actor)
        assert AuditEntry.objects.filter(action="masking.delete").count() == 1
        assert not MaskingPattern.objects.filter(name="Ours").exists()

    def test_that_match_nothing_are_not_saved(self, db):
        before = MaskingPattern.objects.count()

        with pytest.raises(InvalidInput) as refusal:
            services.save_pattern(pattern=MaskingPattern(name="All", expression="x*"))

        assert list(refusal.value.fields) == ["expression"]
        assert MaskingPattern.objects.count() == before
        assert not AuditEntry.objects.filter(action="masking.create").exists()


class TestTheConsole:
    FORM = {"name": "Ours", "expression": r"ours-\d+", "is_enabled": "on"}

    def test_lets_a_platform_admin_add_and_delete(self, client, db):
        client.force_login(UserFactory(platform_role=PlatformRole.PLATFORM_ADMIN))

        answer = client.post("/admin/logs/maskingpattern/add/", self.FORM)
        pattern = MaskingPattern.objects.get(name="Ours")

        assert answer.status_code == 302
        assert client.get("/admin/logs/maskingpattern/").status_code == 200
        client.post(f"/admin/logs/maskingpattern/{pattern.pk}/delete/", {"post": "yes"})
        actions = AuditEntry.objects.filter(action__startswith="masking.").values_list("action", flat=True)
        assert sorted(actions) == ["masking.create", "masking.delete"]

    def test_shows_a_refusal_beside_the_field(self, client, db):
        client.force_login(UserFactory(platform_role=PlatformRole.PLATFORM_ADMIN))

        answer = client.post("/admin/logs/maskingpattern/add/", {**self.FORM, "expression": "("})

        assert answer.status_code == 200
        assert "RE2 cannot read this" in answer.content.decode()
        assert not MaskingPattern.objects.filter(name="Ours").exists()

    def test_lets_an_auditor_only_read(self, client, db):
        client.force_login(UserFactory(platform_role=PlatformRole.AUDITOR))

        assert client.get("/admin/logs/maskingpattern/").status_code == 200
        assert client.post("/admin/logs/maskingpattern/add/", self.FORM).status_code == 403
        assert not MaskingPattern.objects.filter(name="Ours").exists()
