"""Models of two autoscalers: Cortex', with the arithmetic of its documentation, and Kubernetes' with KEDA.

Both are written from the published algorithms. Time is in seconds and comes from the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from insula.project.configuration.spec import Autoscaling


@dataclass
class Cortex:
    """Cortex' autoscaler; `decide` is its tick of 10 s."""

    scaling: Autoscaling
    replicas: int
    _recommended: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def decide(self, now_s: float, in_flight: float) -> int:
        """Return the new number of replicas. `in_flight` is the average of the workloads in flight over a window."""
        scaling, current = self.scaling, self.replicas
        raw = in_flight / scaling.target
        wanted = math.ceil(raw)
        if current * (1 - scaling.downscale_tolerance) < raw < current * (1 + scaling.upscale_tolerance):
            wanted = current
        wanted = max(wanted, min(current - 1, math.ceil(current * scaling.max_downscale_factor)))
        wanted = min(wanted, max(current + 1, math.ceil(current * scaling.max_upscale_factor)))
        wanted = min(max(wanted, scaling.min_replicas), scaling.max_replicas)
        self._recommended.append((now_s, wanted))
        if wanted < current:
            highest = self._since(now_s, scaling.downscale_stabilization_period, max)
            wanted = max(wanted, min(highest, current))
        elif wanted > current:
            lowest = self._since(now_s, scaling.upscale_stabilization_period, min)
            wanted = min(wanted, max(lowest, current))
        self.replicas = wanted
        return wanted

    def _since(self, now_s: float, period: timedelta, extreme: Callable[[list[int]], int]) -> int:
        return extreme([count for at_s, count in self._recommended if at_s >= now_s - period.total_seconds()])


@dataclass
class Hpa:
    """The HorizontalPodAutoscaler of a ScaledObject, and KEDA, which starts the first replica and stops the last ones.

    `sync` is the HPA's loop, every 15 s. `poll` is KEDA's, every `pollingInterval` and after each push. `tolerance` is
    the cluster's default. It applies if the ScaledObject sets none.
    """

    spec: dict[str, Any]  # of the ScaledObject, as rendered
    replicas: int
    tolerance: float = 0.1
    active_s: float = -math.inf
    _recommended: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    _added: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    _removed: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def poll(self, now_s: float, *, active: bool) -> int:
        """Do what KEDA does, and return the number of replicas.

        If the API is active and has no replica, one starts at once. After `cooldownPeriod` without activity, all stop.
        """
        least = self.spec["minReplicaCount"]
        if active:
            self.active_s = now_s
            self.replicas = self.replicas or max(1, least)
        elif least == 0 and now_s - self.active_s > self.spec["cooldownPeriod"]:
            self.replicas = 0
        return self.replicas

    def sync(self, now_s: float, value: float, target: float) -> int:
        """Do what the HPA does with one metric of the type AverageValue. Return the new number of replicas."""
        current = self.replicas
        if current == 0:  # the HPA does nothing without replicas
            return 0
        if not self._recommended:
            self._recommended.append((now_s, current))
        least, most = max(1, self.spec["minReplicaCount"]), self.spec["maxReplicaCount"]
        if least <= current <= most:
            stable = self._stabilized(now_s, self._wanted(value, target))
            wanted = self._limited(now_s, stable, least, most)
        else:
            wanted = min(max(current, least), most)
        (self._added if wanted > current else self._removed).append((now_s, abs(wanted - current)))
        self.replicas = wanted
        return wanted

    def _rules(self, direction: str) -> dict[str, Any]:
        rules: dict[str, Any] = self.spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"][direction]
        return rules

    def _wanted(self, value: float, target: float) -> int:
        ratio = value / (target * self.replicas)
        up, down = (float(self._rules(each).get("tolerance", self.tolerance)) for each in ("scaleUp", "scaleDown"))
        return self.replicas if 1 - down <= ratio <= 1 + up else math.ceil(value / target)

    def _stabilized(self, now_s: float, wanted: int) -> int:
        up_s, down_s = (self._rules(each)["stabilizationWindowSeconds"] for each in ("scaleUp", "scaleDown"))
        lowest = min([wanted, *(count for at_s, count in self._recommended if at_s > now_s - up_s)])
        highest = max([wanted, *(count for at_s, count in self._recommended if at_s > now_s - down_s)])
        self._recommended.append((now_s, wanted))
        return min(max(self.replicas, lowest), highest)

    def _limited(self, now_s: float, wanted: int, least: int, most: int) -> int:
        if wanted > self.replicas:
            return min(wanted, most, max(self.replicas, self._step(now_s, "scaleUp")))
        if wanted < self.replicas:
            return max(wanted, least, min(self.replicas, self._step(now_s, "scaleDown")))
        return wanted

    def _step(self, now_s: float, direction: str) -> int:
        """Return the number of replicas that the least strict scaling policy of this direction allows."""
        up = direction == "scaleUp"
        allowed: list[int] = []
        for policy in self._rules(direction)["policies"]:
            after_s, value = now_s - policy["periodSeconds"], policy["value"]
            changed = sum(n for at_s, n in self._removed if at_s > after_s)
            changed -= sum(n for at_s, n in self._added if at_s > after_s)
            start = self.replicas + changed
            if policy["type"] == "Pods":
                allowed.append(start + value if up else start - value)
            else:
                allowed.append(math.ceil(start * (1 + value / 100)) if up else int(start * (1 - value / 100)))
        return max(allowed) if up else min(allowed)
