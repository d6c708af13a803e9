"""Addresses of the screens that belong to no single room."""

from django.urls import path

from q2c.portal import (
    absences,
    audit,
    cards,
    decisions,
    emergencies,
    home,
    inbox,
    lineage,
    person,
    schedules,
    search,
    transactions,
)

app_name = "portal"
urlpatterns = [
    path("", home.home, name="home"),
    path("search/", search.search, name="search"),
    path("transactions/", transactions.transaction_list, name="transaction_list"),
    path("transactions/<uuid:transaction_id>/", transactions.transaction_detail, name="transaction_detail"),
    path("transactions/<uuid:transaction_id>/exchanges/<uuid:exchange_id>/", transactions.exchange, name="exchange"),
    path("transactions/<uuid:transaction_id>/posting/", transactions.posting, name="posting"),
    path("lineage/", lineage.lineage, name="lineage"),
    path("inbox/", inbox.event_list, name="event_list"),
    path("inbox/<uuid:event_id>/", inbox.event_detail, name="event_detail"),
    path("inbox/<uuid:event_id>/replay/", inbox.event_replay, name="event_replay"),
    path("decisions/", decisions.decision_list, name="decision_list"),
    path("decisions/<uuid:proposal_id>/", decisions.decision_detail, name="decision_detail"),
    path("decisions/<uuid:proposal_id>/sign/", decisions.decision_sign, name="decision_sign"),
    path("emergencies/", emergencies.emergency_list, name="emergency_list"),
    path("emergencies/<uuid:proposal_id>/", emergencies.emergency_detail, name="emergency_detail"),
    path("emergencies/<uuid:proposal_id>/review/", emergencies.emergency_review, name="emergency_review"),
    path("schedules/", schedules.schedule_list, name="schedule_list"),
    path("schedules/<int:task_id>/", schedules.schedule_edit, name="schedule_edit"),
    path("audit/", audit.audit_list, name="audit_list"),
    path("card/", cards.card, name="card"),
    path("you/", person.you, name="you"),
    path("you/absences/", absences.absence_list, name="absence_list"),
    path("you/absences/<int:absence_id>/end/", absences.absence_end, name="absence_end"),
    path("keys/", person.keys, name="keys"),
]
