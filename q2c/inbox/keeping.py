"""What the inbox lets go of: answers to API requests that are older than they are promised to be kept."""

from __future__ import annotations

from django.utils import timezone

from q2c.inbox.models import ApiRequest

AT_ONCE = 10_000


def forget_expired_answers() -> int:
    """Delete expired answers, at most so many at once. Returns how many."""
    old = ApiRequest.objects.filter(expires_at__lt=timezone.now()).order_by("expires_at").values_list("pk", flat=True)
    return ApiRequest.objects.filter(pk__in=list(old[:AT_ONCE])).delete()[0]
