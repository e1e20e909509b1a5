"""Ids, clock, errors and paging: what every other package stands on."""
