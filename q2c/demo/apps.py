"""Django's name for this room, which has commands but no tables."""

from django.apps import AppConfig


class Room(AppConfig):
    name = "q2c.demo"
    label = "demo"
