"""Django's name for this room."""

from django.apps import AppConfig


class Room(AppConfig):
    name = "q2c.core"
    label = "core"

    def ready(self):
        from django.contrib.auth.signals import user_logged_in

        from q2c import celery  # noqa: F401 - or tasks would be sent through Celery's default app, to nobody
        from q2c.core import checks  # noqa: F401 - registers the system checks
        from q2c.core.arrays import write_arrays_quickly
        from q2c.core.form_words import say_what_to_do
        from q2c.core.middleware import begin_to_count

        user_logged_in.connect(begin_to_count)
        write_arrays_quickly()
        say_what_to_do()
