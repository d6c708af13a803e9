"""Addresses of the exceptions workbench."""

from django.urls import path

from exceptions.workbench import actions, bulk, cases, catalog, clocks, regroup, resolving, views

app_name = "exceptions"
urlpatterns = [
    path("cases/", cases.case_list, name="case_list"),
    path("cases/news/", views.case_news, name="case_news"),
    path("views/keep/", views.view_keep, name="view_keep"),
    path("views/<int:view_id>/forget/", views.view_forget, name="view_forget"),
    path("cases/<int:case_id>/", cases.case_detail, name="case_detail"),
    path("cases/<int:case_id>/assign/", actions.assign, name="case_assign"),
    path("cases/<int:case_id>/pause/", clocks.pause, name="case_pause"),
    path("cases/<int:case_id>/resume/", clocks.resume, name="case_resume"),
    path("cases/<int:case_id>/note/", actions.note, name="case_note"),
    path("cases/<int:case_id>/repost/", resolving.repost, name="case_repost"),
    path("cases/<int:case_id>/look/", actions.look, name="case_look"),
    path("cases/<int:case_id>/override/", actions.override, name="case_override"),
    path("cases/<int:case_id>/waive/", resolving.waive, name="case_waive"),
    path("cases/<int:case_id>/correct/", actions.correct, name="case_correct"),
    path("cases/<int:case_id>/merge/", regroup.merge, name="case_merge"),
    path("cases/<int:case_id>/split/", regroup.split, name="case_split"),
    path("cases/<int:case_id>/take-out/", regroup.take_out, name="case_take_out"),
    path("kinds/", catalog.kind_list, name="kind_list"),
    path("kinds/<slug:code>/", catalog.kind_detail, name="kind_detail"),
    path("kinds/<slug:code>/runbook/", catalog.kind_runbook, name="kind_runbook"),
    path("cases/<int:case_id>/remap/", actions.remap, name="case_remap"),
    path("cases/<int:case_id>/period/", resolving.period, name="case_period"),
    path("bulk/", bulk.bulk_list, name="bulk_list"),
    path("bulk/freeze/", bulk.bulk_freeze, name="bulk_freeze"),
    path("bulk/<int:action_id>/", bulk.bulk_detail, name="bulk_detail"),
    path("bulk/<int:action_id>/confirm/", bulk.bulk_confirm, name="bulk_confirm"),
    path("bulk/<int:action_id>/undo/", bulk.bulk_undo, name="bulk_undo"),
    path("bulk/<int:action_id>/again/", bulk.bulk_again, name="bulk_again"),
    path("cases/<int:case_id>/snooze/", resolving.snooze, name="case_snooze"),
    path("cases/<int:case_id>/wake/", resolving.wake, name="case_wake"),
    path("cases/<int:case_id>/send-back/", resolving.sendback, name="case_sendback"),
    path("cases/<int:case_id>/take-up/", resolving.take_up, name="case_take_up"),
    path("open-items/", resolving.open_items, name="open_items"),
    path("cases/<int:case_id>/edit/", resolving.edit, name="case_edit"),
    path("cases/<int:case_id>/emergency-edit/", resolving.emergency, name="case_emergency"),
    path("cases/<int:case_id>/link/", resolving.link, name="case_link"),
]
