"""Rows of the catalogue that no document is held by: what operators are told of by themselves, before it hurts. Each
closes by itself when it's over."""

from __future__ import annotations

from exceptions.kind_words import HIGH, PLATFORM, WAIVE, Kind, hours
from q2c.core.problems import Category

A, AV, D = Category.AUTHENTICATION, Category.AVAILABILITY, Category.DRIFT

OPERATING = (
    Kind("credentials_expiring", A, PLATFORM, HIGH, hours(72), ("connection", "expires", "within"), (WAIVE,),
         "The credentials of {connection} expire on {expires}",
         "Have new ones made at the vendor and give them under Connections with the day on which they expire; a second "
         "person agrees, and this closes by itself. It’s told 30, 7 and 1 days ahead. Waive it where the date is no "
         "longer true and nobody knows another."),
    Kind("error_budget_burning", AV, PLATFORM, HIGH, hours(2), ("level",), (WAIVE,),
         "{level} uses up its error budget fast",
         "Open Operations: the service level’s row leads to the flows that it counts, theirs to what was held. Mend "
         "that first; pause the flow if it makes things worse. It closes by itself once an hour goes as promised."),
    Kind("channel_failing", AV, PLATFORM, HIGH, hours(8), ("channel",), (WAIVE,), "{channel} takes no alerts",
         "Open the channel under Alerts, Channels: its log says what it answered. Have it mended there, then send "
         "again what was given up, or propose another address. It closes by itself once a message is taken, and once "
         "somebody says in the form of one that was switched off that it stays so."),
    Kind("system_away", AV, PLATFORM, HIGH, hours(1), ("connection",), (WAIVE,),
         "{connection} is away",
         "Look at the vendor’s status page and at the last failure on the connection’s page, which also has every turn "
         "of its breaker. Test the connection there: where only ours fails, it’s a proxy, a certificate or an address "
         "that changed. What waits goes on by itself when a call gets through, and the case closes then."),
    Kind("webhooks_lost", AV, PLATFORM, HIGH, hours(4), ("connection",), (WAIVE,),
         "Webhooks of {connection} don’t reach us",
         "Nothing is lost: polls bring what webhooks don’t, only later. Look at the vendor’s own list of webhooks (was "
         "the endpoint switched off after failures, is its address ours, its secret?) and at what was turned away at "
         "the door (Inbox). The case closes once more come by webhook than by polling alone."),
    Kind("feed_unchecked", D, PLATFORM, HIGH, hours(4), ("connection", "document_type"), (WAIVE,),
         "The {document_type} of {connection} aren’t compared with its register",
         "What is lost of them meanwhile, nobody sees. The case says what the source answered: a permission that is "
         "missing (give it to the integration role), or something that we don’t understand (a fault of ours). Where "
         "nobody has asked, see that the schedule Compare feeds with their registers is on and that a worker of "
         "reconciliation lives. Days in which nobody compared are made up for, and the case closes by itself then. "
         "Waive it where the source won’t ever let us ask, with how its documents are compared instead."),
    Kind("totals_apart", D, PLATFORM, HIGH, hours(4), ("connection", "document_type", "legal_entity", "day"), (WAIVE,),
         "The {document_type} of {connection} received for {day} aren’t all accounted for",
         "What was received must be posted, held, ignored or on its way, to the cent; the case names the documents "
         "that aren’t. Open each by its number. Received and not carried: replay its message (Inbox). Carried "
         "otherwise than received, or without having been received: a fault of ours or a change of the tables from "
         "outside, so keep what is there and find out which. It’s looked at again each day, and closes when the day "
         "adds up."),
    Kind("more_held_than_usual", D, PLATFORM, HIGH, hours(4), ("flow", "legal_entity"), (WAIVE,),
         "More documents are held than usual",
         "Open the flow on Operations: why documents were held, and where. One category is nearly always one cause, "
         "and a change on that day (a rule, a price book, a release of ours or of a vendor) the usual one. Pause the "
         "flow if it makes things worse. The case closes when as few are held as usual."),
)  # fmt: skip
