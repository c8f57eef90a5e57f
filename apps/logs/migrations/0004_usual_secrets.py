"""Patterns of secrets that many jobs print by accident. An admin may change, switch off or delete each."""

from django.db import migrations

USUAL = {
    "AWS access key id": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "AWS secret access key": r"""(?i:aws_?secret_?access_?key)["']?\s*[=:]\s*["']?([A-Za-z0-9/+]{40})""",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})",
    "GitLab token": r"\bgl(?:pat|dt|rt|ptt|ft|agent|soat|cbt)-[A-Za-z0-9_.-]{20,}",
    "Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "API key that begins with sk-": r"\bsk-[A-Za-z0-9_-]{20,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "Authorization header": (
        r"""(?i:\b(?:authorization["']?\s*[:=]\s*["']?(?:basic|token)|bearer)\s+)([A-Za-z0-9._~+/=-]{16,})"""
    ),
    "Password in a URL": r"://[^\s/:@]*:([^\s/@]+)@",
    "Private key in one line": r"(-----BEGIN [A-Z ]*PRIVATE KEY-----\\[^\s\"']+)",
}


def add(apps, schema_editor):
    pattern = apps.get_model("logs", "MaskingPattern")
    pattern.objects.bulk_create(pattern(name=name, expression=text) for name, text in USUAL.items())


def remove(apps, schema_editor):
    apps.get_model("logs", "MaskingPattern").objects.filter(name__in=USUAL).delete()


class Migration(migrations.Migration):
    dependencies = [("logs", "0003_masking_pattern")]

    operations = [migrations.RunPython(add, remove)]
