"""The ScaledObject of an API: how KEDA and the HorizontalPodAutoscaler (HPA) scale its workers as Cortex did.

`scaled_object(spec, deployment=…, labels=…, scaler_address=…)` returns the whole object as a dictionary, without a
namespace. The Deployment must have no `replicas`, because KEDA and the HPA own that field.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from insula.project import ApiSpec
from insula.project.configuration.spec import Autoscaling

TICK_S: Final = 10
"""Time between two polls of KEDA. Cortex' autoscaler decided as often. If a push to KEDA is lost, KEDA notices the
workloads of an idle API at most 10 s later."""
STABILIZATION_S_MAX: Final = 3600
PERIOD_S_MAX: Final = 1800
PERCENT_MAX: Final = 2**31 - 1
"""Largest percentage that Kubernetes accepts in a scaling policy of the HPA."""


def scaled_object(
    spec: ApiSpec,
    *,
    deployment: str,
    labels: Mapping[str, str],
    scaler_address: str,
    tolerance: bool = False,
) -> dict[str, Any]:
    """Return the ScaledObject that scales `deployment`, the workers of one API. It has the Deployment's name.

    `scaler_address` is the address of the external scaler in results, for KEDA. KEDA runs in another namespace, so the
    host includes Insula's: `insula-results.<namespace>:9001`. With `tolerance`, the object has the tolerances of the
    API. This needs Kubernetes 1.35, or 1.33 with the feature gate HPAConfigurableTolerance, and a KEDA whose
    ScaledObject has the field. Otherwise the tolerance is the cluster's, 10 % by default.
    """
    scaling = spec.autoscaling
    # The service knows the target too. As part of the manifest, a new target makes KEDA write a new HPA.
    metadata = {"scalerAddress": scaler_address, "api": spec.name, "target": str(scaling.target)}
    idle_s = _seconds(scaling.window + scaling.downscale_stabilization_period)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": deployment, "labels": dict(labels)},
        "spec": {
            "scaleTargetRef": {"name": deployment},
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "pollingInterval": TICK_S,
            "cooldownPeriod": idle_s,
            # Without it, KEDA would stop the initial replicas of an API that was never used as soon as it sees them.
            "initialCooldownPeriod": idle_s if scaling.init_replicas else 0,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(scaling, tolerance=tolerance)}},
            "triggers": [{"type": "external-push", "metadata": metadata}],
        },
    }


def behavior(scaling: Autoscaling, *, tolerance: bool) -> dict[str, Any]:
    """Return the HPA's `behavior`. It makes the HPA change the number of replicas as rarely as Cortex did.

    Cortex first limited each recommended number to one step from the current number. Then it took the highest or lowest
    recommendation of the stabilisation period. So the time between two steps was the period plus TICK_S. The HPA takes
    the highest or lowest recommendation first and then limits it, so it could make a step each time it runs.
    `periodSeconds` prevents this: it is the least time between two steps.
    """
    factors = Decimal(str(scaling.max_upscale_factor)) - 1, 1 - Decimal(str(scaling.max_downscale_factor))
    periods = scaling.upscale_stabilization_period, scaling.downscale_stabilization_period
    tolerances = scaling.upscale_tolerance, scaling.downscale_tolerance
    up, down = (
        _rules(share, period, allowed if tolerance else None)
        for share, period, allowed in zip(factors, periods, tolerances, strict=True)
    )
    return {"scaleUp": up, "scaleDown": down}


def _rules(share: Decimal, stabilization: timedelta, tolerance: float | None) -> dict[str, Any]:
    """Return the rules for one direction, up or down. A step is one replica, or `share` of them if this is more."""
    period_s = min(PERIOD_S_MAX, _seconds(stabilization) + TICK_S)
    percent = min(PERCENT_MAX, int(share * 100))  # rounded down, because a factor is a limit
    policies = [{"type": "Pods", "value": 1, "periodSeconds": period_s}]
    if percent > 0:
        policies.insert(0, {"type": "Percent", "value": percent, "periodSeconds": period_s})
    rules = {
        "stabilizationWindowSeconds": min(STABILIZATION_S_MAX, _seconds(stabilization)),
        "selectPolicy": "Max",
        "policies": policies,
    }
    return rules if tolerance is None else rules | {"tolerance": str(tolerance)}


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
