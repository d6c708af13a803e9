"""Salesforce's REST API over HTTP, from the fact sheet alone: CPQ, several currencies, outbound messages."""

from connectors.salesforce.sandbox.org import Salesforce

SANDBOX = Salesforce
