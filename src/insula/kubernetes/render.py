"""All objects of a project, and their YAML. The same project gives the same bytes, whatever the order in its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import yaml

from insula.kubernetes.images import plain_image, worker_image
from insula.kubernetes.metadata import WORKER, Object, labels, name_of
from insula.kubernetes.network import registration_policy, service, service_account, worker_policy
from insula.kubernetes.options import SCALER_PORT, Options
from insula.kubernetes.registration import job
from insula.kubernetes.scaled_object import scaled_object
from insula.kubernetes.worker import deployment, disruption_budget
from insula.project import ApiSpec, Project
from insula.registry import version_of

_PLAIN: Final = re.compile(r"[A-Za-z][-A-Za-z0-9_./]*")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that some YAML parsers read as a boolean or as null."""


def objects(project: Sequence[Project], options: Options, names: Sequence[str] = ()) -> list[Object]:
    """Return the objects of the APIs `names`, or of all APIs without names, sorted by the name of the API.

    A Deployment or Job comes after the objects that its pods need. Raises ProjectInvalid if Kubernetes would refuse a
    value of the configuration.
    """
    bundle = project[0].bundle()
    found: list[Object] = []
    chosen = (each.spec for each in project if not names or each.spec.name in names)
    for spec in sorted(chosen, key=lambda spec: spec.name):
        built = not options.plain
        image = worker_image(project, spec, options.image) if built else plain_image(spec, options.image)
        found += [
            service_account(spec, options),
            worker_policy(spec, options),
            service(spec, options),
            disruption_budget(spec, options),
            deployment(spec, image, options),
        ]
        if options.keda:
            found.append(_scaled_object(spec, options))
        if built:
            version = version_of(spec.to_json(), bundle)
            found += [registration_policy(spec, options), job(spec, image, version, options)]
    return found


def _scaled_object(spec: ApiSpec, options: Options) -> Object:
    """Return the ScaledObject. KEDA runs in another namespace, so the scaler's address includes Insula's namespace."""
    made = scaled_object(
        spec,
        deployment=name_of(spec.name),
        labels=labels(spec.name, WORKER),
        scaler_address=f"insula-results.{options.namespace}:{SCALER_PORT}",
        tolerance=options.tolerance,
    )
    made["metadata"] |= {"namespace": options.namespace}
    return made


class _Dumper(yaml.SafeDumper):
    """Puts all texts except plain words in quotes, so that every YAML parser reads them as texts."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True, so that a repeated part is written in full, not as a YAML alias."""
        return data is not self


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def to_yaml(found: Sequence[Object]) -> str:
    """Return the objects as YAML documents with sorted keys, for `kubectl apply -f -`."""
    return yaml.dump_all(found, Dumper=_Dumper, sort_keys=True, explicit_start=True, width=10_000, allow_unicode=True)
