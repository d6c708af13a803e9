"""Stripe's sandbox: its API over HTTP as far as quote-to-cash needs it, written from the published facts alone."""

from connectors.stripe.sandbox.vendor import Stripe

SANDBOX = Stripe

__all__ = ["SANDBOX"]
