"""Django's name for this room."""

from django.apps import AppConfig


class Room(AppConfig):
    name = "exceptions"
    label = "exceptions"
