"""Objectives that two rooms or more share; one function per equation."""
