"""Addresses of the mappings workbench."""

from django.urls import path

from mappings.workbench import (
    change_sets,
    copying,
    duplicates,
    grid,
    identities,
    matrix,
    owners,
    proposing,
    rules,
    sheets,
)

app_name = "mappings"
urlpatterns = [
    path("rules/", rules.rule_list, name="rule_list"),
    path("targets/", proposing.targets, name="targets"),
    path("rules/propose/", proposing.propose, name="propose"),
    path("rules/export/", sheets.rule_export, name="rule_export"),
    path("grid/", grid.grid, name="grid"),
    path("matrix/", matrix.matrix, name="matrix"),
    path("rules/copy/", copying.copy_entity, name="copy_entity"),
    path("rules/renumber/", copying.renumber, name="renumber"),
    path("lists/refresh/", sheets.lists_refresh, name="lists_refresh"),
    path("sheets/", sheets.sheet_new, name="sheet_new"),
    path("sheets/<int:sheet_id>/", sheets.sheet_detail, name="sheet_detail"),
    path("sheets/<int:sheet_id>/cancel/", sheets.sheet_cancel, name="sheet_cancel"),
    path("sheets/<int:sheet_id>/draft/", sheets.sheet_draft, name="sheet_draft"),
    path("rules/<int:rule_id>/", rules.rule_detail, name="rule_detail"),
    path("rules/<int:rule_id>/retire/", proposing.retire, name="retire"),
    path("identities/", identities.identity_list, name="identity_list"),
    path("identities/find/", identities.identity_find, name="identity_find"),
    path("identities/<slug:record_type>/<path:record_key>/change/", identities.identity_change, name="identity_change"),
    path("identities/<slug:record_type>/<path:record_key>/override/", owners.field_override, name="field_override"),
    path("duplicates/", duplicates.duplicate_list, name="duplicate_list"),
    path("duplicates/<int:pair_id>/", duplicates.duplicate_detail, name="duplicate_detail"),
    path("duplicates/<int:pair_id>/decide/", duplicates.duplicate_decide, name="duplicate_decide"),
    path("owners/", owners.owner_list, name="owner_list"),
    path("identities/<slug:record_type>/<path:record_key>/", identities.identity_detail, name="identity_detail"),
    path("change-sets/", change_sets.change_set_list, name="change_set_list"),
    path("change-sets/<int:change_set_id>/", change_sets.change_set_detail, name="change_set_detail"),
    path("change-sets/<int:change_set_id>/documents/", change_sets.documents, name="change_set_documents"),
    path("change-sets/<int:change_set_id>/sign/", change_sets.sign, name="change_set_sign"),
    path("change-sets/<int:change_set_id>/propose/", change_sets.propose, name="change_set_propose"),
    path("change-sets/<int:change_set_id>/evidence/", change_sets.compute, name="change_set_evidence"),
    path("change-sets/<int:change_set_id>/withdraw/", change_sets.withdraw, name="change_set_withdraw"),
    path("change-sets/<int:change_set_id>/anew/", change_sets.anew, name="change_set_anew"),
    path("change-sets/<int:change_set_id>/lines/<int:line_id>/remove/", change_sets.remove, name="change_set_remove"),
]
