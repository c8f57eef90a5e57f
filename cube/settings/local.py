"""What a laptop needs that production gets from its environment: a data folder, generated secrets, a socket.

Secrets are made once, kept in `<data>/secrets.json` (mode 0600) and never printed.
"""

import base64
import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import TypedDict


class LocalSecrets(TypedDict):
    secret_key: str
    encryption_key: str
    redis_password: str


def load_or_create_secrets(data_dir: Path) -> LocalSecrets:
    """Read `<data>/secrets.json`, making it on first use. Two processes that start together agree on one file."""
    try:
        return _load_or_create(data_dir)
    except OSError as error:
        raise SystemExit(
            f"Cube cannot use its data folder {data_dir}: {error.strerror}. Name another with CUBE_DATA_DIR."
        ) from None


def _load_or_create(data_dir: Path) -> LocalSecrets:
    path = data_dir / "secrets.json"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = LocalSecrets(
            secret_key=secrets.token_urlsafe(48),
            encryption_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            redis_password=secrets.token_urlsafe(24),
        )
        handle, name = tempfile.mkstemp(dir=data_dir, prefix=".secrets-")
        with os.fdopen(handle, "w") as file:
            json.dump(fresh, file)
        try:
            os.link(name, path)  # Unlike a rename, a link does not replace what another process just made.
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
    loaded: LocalSecrets = json.loads(path.read_text())
    return loaded


def redis_socket(data_dir: Path) -> Path:
    """Where the embedded server listens. Unix socket paths end at about 100 bytes, so a deep folder moves to /tmp."""
    preferred = data_dir / "run" / "valkey.sock"
    if len(str(preferred).encode()) < 96:
        return preferred
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"cube-{os.getuid()}-{digest}" / "valkey.sock"
