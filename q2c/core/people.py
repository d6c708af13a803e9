"""People: nobody signs up by themselves; an admin or single sign-on brings them in."""

from allauth.account.adapter import DefaultAccountAdapter

DEMO_EMAIL_DOMAIN = "demo.invalid"  # the demo's people, whom production refuses


class ClosedDoorAdapter(DefaultAccountAdapter):
    """Sign-up is closed."""

    def is_open_for_signup(self, request):
        return False
