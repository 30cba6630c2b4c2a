"""Stored records: states, journals, leases, schedules, message types."""
