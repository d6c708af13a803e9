"""The tables of the workbench: what was taken off receivables; alerts; cases with occurrences, tallies and notes; what
fixed them; how they are routed and counted; what people chose for documents; what was done to many at once; sheets;
runbooks; what was merged and split."""

from exceptions.models.adjustments import Adjustment
from exceptions.models.alerts import AlertAttempt, AlertChannel, AlertDelivery, AlertGroup, AlertSubscription
from exceptions.models.bulk import BulkAction, BulkItem
from exceptions.models.cases import CaseNote, CaseTally, ExceptionCase, Occurrence
from exceptions.models.choices import Choice, Snooze
from exceptions.models.clocks import CasePause
from exceptions.models.counts import OpenChange, OpenCount
from exceptions.models.files import CaseFile
from exceptions.models.fixes import CaseFix, FailedFix
from exceptions.models.groups import ApartCase, CaseAlias
from exceptions.models.mentions import Mention
from exceptions.models.routing import RoutingMark
from exceptions.models.runbooks import RunbookVersion
from exceptions.models.sheets import CaseSheet
from exceptions.models.views import SavedView
from exceptions.models.waivers import Waiver

__all__ = [
    "Adjustment",
    "AlertAttempt",
    "AlertChannel",
    "AlertDelivery",
    "AlertGroup",
    "AlertSubscription",
    "ApartCase",
    "BulkAction",
    "BulkItem",
    "CaseAlias",
    "CaseFile",
    "CaseFix",
    "CaseNote",
    "CasePause",
    "CaseSheet",
    "CaseTally",
    "Choice",
    "ExceptionCase",
    "FailedFix",
    "Mention",
    "Occurrence",
    "OpenChange",
    "OpenCount",
    "RoutingMark",
    "RunbookVersion",
    "SavedView",
    "Snooze",
    "Waiver",
]
