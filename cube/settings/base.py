"""Settings, all of them from environment variables; the defaults run Cube on a bare laptop.

`docs/configuration.md` lists every variable.
"""

import os
from pathlib import Path
from urllib.parse import quote

import environ
from csp.constants import NONCE, NONE, SELF
from django.templatetags.static import static
from django.utils.module_loading import import_string

from cube import __version__

from .local import load_or_create_secrets, redis_socket
from .logging import logging_config

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parents[2]
CUBE_VERSION = __version__
CUBE_DATA_DIR = Path(env.str("CUBE_DATA_DIR", default=str(BASE_DIR / "var"))).expanduser().resolve()

# -- secrets ---------------------------------------------------------------------------------------------------------
# With all three given nothing is generated: production sets them and needs no writable data folder for secrets.
_needs_local = not all(
    env.str(name, default="") for name in ("CUBE_SECRET_KEY", "CUBE_ENCRYPTION_KEYS", "CUBE_REDIS_URL")
)
_local = load_or_create_secrets(CUBE_DATA_DIR) if _needs_local else None
SECRET_KEY = env.str("CUBE_SECRET_KEY", default="") or (_local or {})["secret_key"]
# The first key encrypts, all of them decrypt, so that a key can be rotated.
CUBE_ENCRYPTION_KEYS: list[str] = env.list("CUBE_ENCRYPTION_KEYS", default=[]) or [(_local or {})["encryption_key"]]

# -- web -------------------------------------------------------------------------------------------------------------
DEBUG = env.bool("CUBE_DEBUG", default=False)
ALLOWED_HOSTS: list[str] = env.list("CUBE_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CUBE_TRUSTED_ORIGINS", default=[])
CUBE_HTTPS = env.bool("CUBE_HTTPS", default=False)  # behind TLS: secure cookies and HSTS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CUBE_HTTPS else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CUBE_HTTPS
SECURE_HSTS_SECONDS = 31536000 if CUBE_HTTPS else 0
SESSION_COOKIE_NAME = "cube_session"
CSRF_COOKIE_NAME = "cube_csrf"
SESSION_COOKIE_AGE = 14 * 24 * 3600
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("CUBE_MAX_BODY_BYTES", default=4 * 1024 * 1024)
CUBE_WEB_THREADS = env.int("CUBE_WEB_THREADS", default=16)  # requests a web process answers at a time
CUBE_WEB_PROCESSES = max(1, env.int("CUBE_WEB_PROCESSES", default=min(2, os.cpu_count() or 1)))  # of `manage.py up`
ROOT_URLCONF = "cube.urls"
ASGI_APPLICATION = "cube.asgi.application"
APPEND_SLASH = True

LOCAL_APPS = [
    f"apps.{name}"
    for name in (
        "core",
        "accounts",
        "projects",
        "clusters",
        "quotas",
        "datasets",
        "jobtemplates",
        "jobs",
        "logs",
        "metrics",
        "pipelines",
        "schedules",
        "alerts",
        "portal",
        "devcluster",
    )
]
INSTALLED_APPS = [
    "django_prometheus",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    *LOCAL_APPS,
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "guardian",
    "channels",
    "django_htmx",
    "django_structlog",
    "csp",
    "axes",
]
MIDDLEWARE = [
    "apps.core.api.slashes.ForgiveMissingSlash",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "cube.csp.ContentSecurityPolicy",
    "apps.core.middleware.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
    "apps.accounts.middleware.AuditRefusals",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "cube" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "apps.portal.context.shell",
            ]
        },
    }
]

# -- who -------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "apps.accounts.backends.PlatformRoleBackend",
    "guardian.backends.ObjectPermissionBackend",
]
ANONYMOUS_USER_NAME = None  # guardian: nobody is a tenant without an account
GUARDIAN_MONKEY_PATCH_USER = False
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "portal:home"
LOGOUT_REDIRECT_URL = "accounts:sign_in"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "apps.accounts.views.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

# -- data ------------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db_url("CUBE_DATABASE_URL", default=f"sqlite:///{CUBE_DATA_DIR / 'cube.sqlite3'}")}
_database = DATABASES["default"]
if "sqlite" in _database["ENGINE"]:
    # Measured: WAL + IMMEDIATE + a long time-out give no "database is locked" under several writers.
    _database["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
    }
else:
    _database["CONN_HEALTH_CHECKS"] = True
# Kept by the request threads of `cube.http`, of which there is a fixed number.
_database["CONN_MAX_AGE"] = env.int("CUBE_DATABASE_CONN_MAX_AGE", default=60)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CUBE_REDIS_SOCKET = redis_socket(CUBE_DATA_DIR)
CUBE_REDIS_EMBEDDED = not env.str("CUBE_REDIS_URL", default="")
if CUBE_REDIS_EMBEDDED:
    CUBE_REDIS_PASSWORD = (_local or {})["redis_password"]
    _auth, _path = f":{quote(CUBE_REDIS_PASSWORD)}@", quote(str(CUBE_REDIS_SOCKET))
    CUBE_REDIS_URL, CELERY_BROKER_URL = f"unix://{_auth}{_path}", f"redis+socket://{_auth}{_path}"
else:
    CUBE_REDIS_URL = CELERY_BROKER_URL = env.str("CUBE_REDIS_URL")
CUBE_REDIS_PREFIX = env.str("CUBE_REDIS_PREFIX", default="cube")
CACHES = {
    "default": {
        "BACKEND": "apps.core.cache.PooledRedisCache",
        "LOCATION": CUBE_REDIS_URL,
        "KEY_PREFIX": f"{CUBE_REDIS_PREFIX}:cache",
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "apps.core.channels.RedisChannelLayer",
        "CONFIG": {"hosts": [CUBE_REDIS_URL], "prefix": f"{CUBE_REDIS_PREFIX}:channels"},
    }
}

# -- work ------------------------------------------------------------------------------------------------------------
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{CUBE_REDIS_PREFIX}:celery:",
    "visibility_timeout": 3600,
    "socket_connect_timeout": 2,
}
# A broker that is away must not hold a request: the row is saved, and the sweep sends what was not sent.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}
CELERY_TASK_IGNORE_RESULT = True  # rows hold the truth
CELERY_TASK_ACKS_LATE = True  # every task is idempotent, so a killed worker's message may come again
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_TASK_SOFT_TIME_LIMIT = 120
CELERY_TASK_TIME_LIMIT = 180
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
# The one table of ticks. A second beat is harmless: every task is a sweep that claims rows.
CELERY_BEAT_SCHEDULE = {
    "jobs-sweep": {"task": "apps.jobs.tasks.sweep_jobs", "schedule": 15.0, "options": {"expires": 14}},
    # Through the queue of the work it looks for, and dropped when it gets old there: then nothing is known to be lost.
    "jobs-lost": {"task": "apps.jobs.tasks.launch_lost", "schedule": 1.0, "options": {"expires": 2}},
    "pipelines-lost": {"task": "apps.pipelines.tasks.advance_lost", "schedule": 1.0, "options": {"expires": 2}},
    "pipelines-sweep": {
        "task": "apps.pipelines.tasks.sweep_runs",
        "schedule": 10.0,
        "options": {"expires": 9},
    },
    "schedules-tick": {
        "task": "apps.schedules.tasks.tick",
        "schedule": 1.0,
        "options": {"expires": 5, "queue": "ticks"},
    },
    "schedules-sweep": {
        "task": "apps.schedules.tasks.sweep_schedules",
        "schedule": 5.0,
        "options": {"expires": 4, "queue": "ticks"},
    },
    "alerts-sweep": {
        "task": "apps.alerts.tasks.sweep_alerts",
        "schedule": 15.0,
        "options": {"expires": 14},
    },
    "alerts-retention": {
        "task": "apps.alerts.tasks.remove_expired",
        "schedule": 3600.0,
        "options": {"expires": 3000},
    },
    "clusters-probe": {
        "task": "apps.clusters.tasks.probe_clusters",
        "schedule": 30.0,
        "options": {"expires": 29},
    },
    "accounts-expire": {
        "task": "apps.accounts.tasks.forget_expired",
        "schedule": 3600.0,
        "options": {"expires": 3000},
    },
    "metrics-sample": {
        "task": "apps.metrics.tasks.sample_clusters",
        "schedule": 15.0,
        "options": {"expires": 14},
    },
    "metrics-close": {
        "task": "apps.metrics.tasks.close_ended",
        "schedule": 15.0,
        "options": {"expires": 14},
    },
    "metrics-retention": {
        "task": "apps.metrics.tasks.remove_expired",
        "schedule": 900.0,
        "options": {"expires": 800},
    },
    "logs-retention": {
        "task": "apps.logs.tasks.remove_expired",
        "schedule": 900.0,
        "options": {"expires": 800},
    },
}

# -- clusters --------------------------------------------------------------------------------------------------------
CUBE_GATEWAY = "apps.clusters.gateway.client.KubernetesGateway"
CUBE_STREAMS = "apps.clusters.gateway.streams.KubernetesStreams"
CUBE_KUBECONFIG = env.str("CUBE_KUBECONFIG", default="")  # registered as cluster "default" by `manage.py up`
CUBE_NAMESPACE_PREFIX = env.str("CUBE_NAMESPACE_PREFIX", default="cube-")
# What jobs may not reach: private and link-local ranges, which is where clusters and cloud metadata live.
CUBE_EGRESS_EXCEPT: list[str] = env.list(
    "CUBE_EGRESS_EXCEPT",
    default=[
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    ],
)
CUBE_WORKSPACE_SIZE = env.str("CUBE_WORKSPACE_SIZE", default="10Gi")
CUBE_WORKSPACE_ACCESS_MODE = env.str("CUBE_WORKSPACE_ACCESS_MODE", default="ReadWriteOnce")  # or ReadWriteMany
CUBE_TOOLS_IMAGE = env.str("CUBE_TOOLS_IMAGE", default="python:3.11-slim")  # lists workspaces; needs only python3
CUBE_LOG_DIR = Path(env.str("CUBE_LOG_DIR", default=str(CUBE_DATA_DIR / "logs")))
CUBE_LOG_S3_BUCKET = env.str("CUBE_LOG_S3_BUCKET", default="")  # then CUBE_LOG_DIR is not used
CUBE_LOG_REQUESTS_PER_SECOND = env.float("CUBE_LOG_REQUESTS_PER_SECOND", default=100.0)  # of one cluster's API
CUBE_LOG_ROTATION_SECONDS = env.float("CUBE_LOG_ROTATION_SECONDS", default=10.0)  # kubelet: containerLogMonitorInterval
CUBE_LOG_RETENTION_DAYS = env.int("CUBE_LOG_RETENTION_DAYS", default=0)  # 0: for ever; a project may set its own
CUBE_USAGE_RETENTION_DAYS = env.int("CUBE_USAGE_RETENTION_DAYS", default=7)  # of samples; 0: for ever
CUBE_LOG_SINK = env.str("CUBE_LOG_SINK", default="")  # where `manage.py ship_logs` sends every line
CUBE_LOG_SINK_AUTHORIZATION = env.str("CUBE_LOG_SINK_AUTHORIZATION", default="")

# -- alerts ----------------------------------------------------------------------------------------------------------
CUBE_PORTAL_URL = env.str("CUBE_PORTAL_URL", default="")  # for links in messages; without it they have none
vars().update(env.email_url("CUBE_EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("CUBE_EMAIL_FROM", default="cube@localhost")
CUBE_ALERT_EMAIL_DOMAINS: list[str] = env.list("CUBE_ALERT_EMAIL_DOMAINS", default=[])  # none: any
# Webhooks call public addresses; these private networks are allowed beside them.
CUBE_ALERT_PRIVATE_NETWORKS: list[str] = env.list("CUBE_ALERT_PRIVATE_NETWORKS", default=[])
CUBE_ALERT_RETENTION_DAYS = env.int("CUBE_ALERT_RETENTION_DAYS", default=90)  # 0: for ever
CUBE_NOTIFIERS = {
    "email": "apps.alerts.notifiers.email.EmailNotifier",
    "webhook": "apps.alerts.notifiers.webhook.WebhookNotifier",
}
# -- language, time, files -------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = env.str("CUBE_TIME_ZONE", default="UTC")
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
USE_I18N = True
FORMAT_MODULE_PATH = ["cube.formats"]
LOCALE_PATHS = [BASE_DIR / "cube" / "locale"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "logs": {
        "BACKEND": "apps.logs.store.objects.LogFileStorage",
        "OPTIONS": {"file_permissions_mode": 0o640, "directory_permissions_mode": 0o750},
    },
}
if CUBE_LOG_S3_BUCKET:  # Keys come from the environment or the instance, as with every program that uses boto3.
    STORAGES["logs"] = {
        "BACKEND": "apps.logs.store.s3.LogS3Storage",
        "OPTIONS": {
            "bucket_name": CUBE_LOG_S3_BUCKET,
            "location": env.str("CUBE_LOG_S3_PREFIX", default=""),
            "endpoint_url": env.str("CUBE_LOG_S3_ENDPOINT", default="") or None,
            "region_name": env.str("CUBE_LOG_S3_REGION", default="") or None,
            "file_overwrite": False,
        },
    }
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("CUBE_STATIC_ROOT", default=str(CUBE_DATA_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_USE_FINDERS = True  # no collectstatic on a laptop

# -- API -------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.accounts.api.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.core.api.permissions.Refuse"],  # a view that names nothing answers nobody
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.api.parsers.LimitedJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [
        "apps.core.api.throttling.Anonymous",
        "apps.core.api.throttling.PerUser",
    ],
    "DEFAULT_THROTTLE_RATES": {
        "anon": env.str("CUBE_API_RATE_ANONYMOUS", default="60/min"),
        "user": env.str("CUBE_API_RATE", default="12000/min"),
    },
    "NUM_PROXIES": 0,  # The ASGI server has settled the client's address; a header is not believed twice.
    "EXCEPTION_HANDLER": "apps.core.api.problems.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Cube API",
    "DESCRIPTION": "Submit training jobs, follow their logs, manage projects. Send `Authorization: Bearer <token>`.",
    "VERSION": CUBE_VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "JobStatusEnum": "apps.jobs.choices.JobStatus",
        "JobReasonEnum": "apps.jobs.choices.Reason",
        "RunStatusEnum": "apps.pipelines.choices.RunStatus",
        "RunReasonEnum": "apps.pipelines.choices.Why",
        "RunTriggerEnum": "apps.pipelines.choices.Launch",
        "TaskStatusEnum": "apps.pipelines.choices.TaskStatus",
        "SlotStatusEnum": "apps.schedules.choices.SlotStatus",
        "SlotReasonEnum": "apps.schedules.choices.Why",
        "SlotMarkEnum": "apps.schedules.choices.Mark",
        "ScheduleKindEnum": "apps.schedules.choices.Kind",
        "SecretKindEnum": "apps.projects.choices.SecretKind",
        "BackfillStatusEnum": "apps.schedules.choices.BackfillStatus",
        "AlertChannelKindEnum": "apps.alerts.choices.ChannelKind",
        "AlertDeliveryStatusEnum": "apps.alerts.choices.DeliveryStatus",
    },
}

# -- content security policy -----------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# -- operations ------------------------------------------------------------------------------------------------------
CUBE_METRICS_TOKEN = env.str("CUBE_METRICS_TOKEN", default="")  # empty: loopback only
PROMETHEUS_EXPORT_MIGRATIONS = False
LOGGING = logging_config(
    format=env.str("CUBE_LOG_FORMAT", default="json"), level=env.str("CUBE_LOG_LEVEL", default="INFO")
)
LOGGING_CONFIG = "logging.config.dictConfig"
DJANGO_STRUCTLOG_CELERY_ENABLED = True
SILENCED_SYSTEM_CHECKS = ["axes.W003"]  # our backend order is deliberate

# The admin console: `static/css/admin.css` dresses it, `cube.admin` says where its menu leads.
UNFOLD = {
    "SITE_TITLE": "Cube",
    "SITE_HEADER": "Cube",
    "SITE_SUBHEADER": "Admin console",
    "SITE_URL": "/",
    "SITE_ICON": lambda request: static("img/logo.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/favicon.svg")}],
    "STYLES": [lambda request: static("css/admin.css")],
    "SCRIPTS": [lambda request: static("js/admin-theme.js")],
    "SHOW_HISTORY": True,
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "#eefafb",
            "100": "#d5f1f4",
            "200": "#afe3e9",
            "300": "#79cdd8",
            "400": "#3caebe",
            "500": "#1f92a3",
            "600": "#0d7685",
            "700": "#0f5f6c",
            "800": "#134e59",
            "900": "#15414b",
            "950": "#082a32",
        }
    },
    "DASHBOARD_CALLBACK": "cube.admin.dashboard",
    "SIDEBAR": {"show_search": False, "navigation": lambda request: import_string("cube.admin.NAVIGATION")},
}
