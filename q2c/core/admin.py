"""Django's admin: for superusers only, and never for governed tables (those change through proposals)."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from q2c.core.models import LegalEntity, Membership, Person


class MembershipInline(admin.TabularInline):
    """Roles of a person, to be read: they are given and taken on the screen "People and roles", by two people."""

    model = Membership
    fk_name = "person"
    fields = readonly_fields = ("role", "legal_entity", "starts_at", "ends_at", "given_by", "approved_by", "ended_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False


@admin.register(Person)
class PersonAdmin(UserAdmin):
    """People and their roles."""

    inlines = (MembershipInline,)
    list_display = ("username", "display_name", "is_active", "last_login")
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Portal", {"fields": ("display_name", "approves_from")}))
    readonly_fields = ("approves_from",)


@admin.register(LegalEntity)
class LegalEntityAdmin(admin.ModelAdmin):
    """Legal entities. Rights, documents and rules name them by code, so a code stays once given, and so do they."""

    list_display = ("code", "name", "country", "currency", "is_active")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        return ("code",) if obj else ()

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False


for _model in (SocialApp, SocialAccount, SocialToken, Authenticator):  # whoever edits them signs in as anybody
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


def sign_in(request: HttpRequest, extra_context: Any = None) -> HttpResponse:
    """The admin has no sign-in of its own: Django's asks for no second factor, and nothing slows who guesses there."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))
    if not admin.site.has_permission(request):
        raise PermissionDenied
    return redirect("admin:index")


admin.site.login = sign_in  # type: ignore[method-assign]
admin.site.has_permission = lambda request: request.user.is_active and request.user.is_superuser  # type: ignore[method-assign]
