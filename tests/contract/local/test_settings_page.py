from __future__ import annotations

from dataclasses import replace

from insula_local.parts import Parts
from scripts.reference import settings


def test_the_page_of_settings_names_the_variables_that_a_user_may_set(parts: Parts) -> None:
    """`insula up` passes these variables on. It sets all other variables of the services itself."""
    variables = {part: [each.name for each in settings.declared(found)] for part, found in settings.PARTS.items()}
    shared = variables.pop("All services")
    given = {name: "/of-the-user" for names in (shared, *variables.values()) for name in names}
    plan = replace(parts.plan, settings=replace(parts.settings, environment=given))
    own = replace(parts, plan=plan)
    made = {"submit": own.submit(print), "results": own.results(), "worker": own.worker("api", print)}
    passed = {
        name
        for part, names in variables.items()
        for name in (*shared, *names)
        if made[part].environment.get(name) == "/of-the-user"
    }
    assert own.redis_url == "/of-the-user"
    assert passed | {"INSULA_REDIS_URL"} == settings.MAY_BE_SET
