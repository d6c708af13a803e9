"""People: nobody signs up by themselves; an admin or single sign-on brings them in."""

from allauth.account.adapter import DefaultAccountAdapter


class ClosedDoorAdapter(DefaultAccountAdapter):
    """Sign-up is closed."""

    def is_open_for_signup(self, request):
        return False
