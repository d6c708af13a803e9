"""Programs of other engines: they know nothing of the portal, and importing them loads no part of it."""
