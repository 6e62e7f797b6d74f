"""An authorization server of another code base: django-oauth-toolkit, which issues opaque tokens.

Run as a program with the name of a database file; it prints its token endpoint as its first line.
"""

import sys
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

CLIENT_ID, CLIENT_SECRET = "opaque-app", "opaque-app-secret"


def main(database: str) -> None:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        OAUTH2_PROVIDER={
            "SCOPES": {"vismanet_erp_service_api:read": "Read"},
            "ACCESS_TOKEN_EXPIRE_SECONDS": 1800,
        },
        SECRET_KEY="of-a-test",
        USE_TZ=True,
    )
    django.setup()
    settings.ROOT_URLCONF = (path("o/", include("oauth2_provider.urls")),)  # imports models
    call_command("migrate", verbosity=0)
    call_command(
        "createapplication",
        "confidential",
        "client-credentials",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        stdout=sys.stderr,
    )
    with make_server("127.0.0.1", 0, get_wsgi_application()) as server:
        print(f"http://127.0.0.1:{server.server_port}/o/token/", flush=True)  # noqa: T201  its answer
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
