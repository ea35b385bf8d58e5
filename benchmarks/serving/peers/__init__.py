"""Alternatives that serve the same bundle: a folder each.

requirements.in     direct dependencies, pinned; those of the bundle are in ../requirements.in
server.py           the server, as the documentation of its framework has it
"""
