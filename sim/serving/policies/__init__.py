"""Policies: which path serves a query. One file a policy, each registered once, here."""

from __future__ import annotations

from sim.serving.policies.base import Choose, PathView, Policy
from sim.serving.policies.fastest import FASTEST
from sim.serving.policies.mp_rec import MP_REC
from sim.serving.policies.size_threshold import SIZE_THRESHOLD
from sim.serving.policies.static import STATIC
from sim.serving.policies.switch import SWITCH
from sim.serving.policies.user import USER

__all__ = ["POLICIES", "Choose", "PathView", "Policy"]

POLICIES: dict[str, Policy] = {
    policy.kind: policy for policy in (STATIC, FASTEST, SWITCH, SIZE_THRESHOLD, MP_REC, USER)
}
"""Every policy by the `kind` that an experiment file names."""
