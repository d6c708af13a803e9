"""Django's name for this room."""

from django.apps import AppConfig


class Room(AppConfig):
    name = "q2c.outbox"
    label = "outbox"
