"""Django's admin: for superusers only, and never for governed tables (those change through proposals)."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from q2c.core.models import LegalEntity, Membership, Person


class MembershipInline(admin.TabularInline):
    """Roles of a person."""

    model = Membership
    extra = 0


@admin.register(Person)
class PersonAdmin(UserAdmin):
    """People and their roles."""

    inlines = (MembershipInline,)
    list_display = ("username", "display_name", "is_active", "last_login")
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Portal", {"fields": ("display_name", "approves_from")}))
    readonly_fields = ("approves_from",)


admin.site.register(LegalEntity)
admin.site.has_permission = lambda request: request.user.is_active and request.user.is_superuser  # type: ignore[method-assign]
