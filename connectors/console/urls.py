"""Addresses of the connections' console."""

from django.urls import path

from connectors.console import actions, views

app_name = "connectors"
urlpatterns = [
    path("", views.connection_list, name="connection_list"),
    path("<slug:code>/", views.connection_detail, name="connection_detail"),
    path("<slug:code>/test/", actions.test, name="connection_test"),
    path("<slug:code>/pause/", actions.pause, name="connection_pause"),
    path("<slug:code>/resume/", actions.resume, name="connection_resume"),
    path("<slug:code>/edit/", actions.edit, name="connection_edit"),
]
