"""Reconciliation has no tables yet: control totals are computed from the transactions themselves."""
