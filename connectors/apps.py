"""Django's name for this room."""

from django.apps import AppConfig


class Room(AppConfig):
    name = "connectors"
    label = "connectors"

    def ready(self) -> None:
        """System checks of this room are registered by importing them."""
        import connectors.checks  # noqa: F401
