"""The kit of the vendor sandboxes: server, store, log of accepted documents, faults, limits, clock, webhooks."""
