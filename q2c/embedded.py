"""Starts PostgreSQL and Valkey out of their wheels."""
