"""Addresses of the connections' console."""

from django.urls import path

from connectors.console import views

app_name = "connectors"
urlpatterns = [
    path("", views.connection_list, name="connection_list"),
    path("<slug:code>/", views.connection_detail, name="connection_detail"),
]
