from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from insula_local.parts import Parts
from insula_local.plan import WorkerId
from scripts.reference import settings


def test_the_page_of_settings_names_the_variables_that_a_user_may_set(parts: Parts) -> None:
    """`insula up` passes these variables on. It sets all other variables of the services itself.

    Those of Redis reach the services as one URL.
    """
    variables = {part: [each.name for each in settings.declared(found)] for part, found in settings.PARTS.items()}
    shared = variables.pop("All services")
    del variables["edge in a container"]  # `insula up` renders Envoy's configuration itself
    given = {name: "/of-the-user" for names in (shared, *variables.values()) for name in names}
    of_redis = {"INSULA_REDIS_URL": "rediss://redis", "INSULA_REDIS_CA_FILE": __file__}
    given |= of_redis
    plan = replace(parts.plan, settings=replace(parts.settings, environment=given))
    own = replace(parts, plan=plan)
    made = {
        "submit": own.submit("submit", print),
        "results": own.results("results"),
        "worker": own.worker(WorkerId("api"), print),
    }
    passed = {
        name
        for part, names in variables.items()
        for name in (*shared, *names)
        if made[part].environment.get(name) == "/of-the-user"
    }
    user = quote("/of-the-user", safe="")
    assert own.redis_url == f"rediss://{user}:{user}@redis?ssl_ca_certs={quote(__file__)}"
    assert passed | of_redis.keys() | {"INSULA_REDIS_USER", "INSULA_REDIS_PASSWORD"} == settings.MAY_BE_SET
