"""Building blocks of networks that two rooms or more need; no losses here."""
