"""Settings of the test suite: fakes at the seams, everything in memory unless a test asks for more."""

import atexit
import os
import shutil
import tempfile

if "CUBE_DATA_DIR" not in os.environ:
    os.environ["CUBE_DATA_DIR"] = tempfile.mkdtemp(prefix="cube-test-")
    atexit.register(shutil.rmtree, os.environ["CUBE_DATA_DIR"], ignore_errors=True)

from .base import *  # noqa: F403
from .base import env

SECRET_KEY = "a-test-suite-needs-no-secret-but-axes-wants-a-long-one"  # noqa: S105
_url = env.str("CUBE_TEST_DATABASE_URL", default="")
DATABASES = {
    "default": env.db_url_config(_url) if _url else {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CELERY_TASK_ALWAYS_EAGER = True
CUBE_GATEWAY = "apps.clusters.gateway.fake.FakeGateway"
CUBE_STREAMS = "apps.clusters.gateway.fake.FakeStreams"
CUBE_NOTIFIERS = dict.fromkeys(("email", "webhook"), "apps.alerts.notifiers.fake.FakeNotifier")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AXES_ENABLED = False
