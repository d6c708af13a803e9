"""A NetSuite account for tests and the demo, built from the vendor's documentation alone."""

from connectors.netsuite.sandbox.vendor import NetSuite

SANDBOX = NetSuite
