"""Addresses of the exceptions workbench."""

from django.urls import path

from exceptions.workbench import cases

app_name = "exceptions"
urlpatterns = [
    path("cases/", cases.case_list, name="case_list"),
    path("cases/<int:case_id>/", cases.case_detail, name="case_detail"),
]
