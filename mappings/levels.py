"""What operators promise: rules of kind `service_level`, and the catalogue's own target where none says."""

from __future__ import annotations

from django.db.models import Q

from mappings.days import rules_today
from mappings.kinds import SERVICE_LEVEL
from mappings.models import MappingRule
from q2c.core.service_levels import LEVELS, Target, read_target


def targets() -> dict[str, Target]:
    """Today's target of each level by its code, in one statement."""
    today = rules_today()
    rules = MappingRule.objects.filter(
        Q(effective_to=None) | Q(effective_to__gt=today), kind=SERVICE_LEVEL, known_to=None, effective_from__lte=today
    )
    said = dict(rules.values_list("key", "value"))
    found = {}
    for level in LEVELS:
        try:
            found[level.code] = read_target(said.get(level.code, level.default))
        except ValueError:  # a rule of an earlier version that would be refused now
            found[level.code] = read_target(level.default)
    return found
