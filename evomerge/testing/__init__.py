"""Conformance suites: what every plug-in must hold to, ours and strangers'."""
