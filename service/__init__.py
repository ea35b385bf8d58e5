"""Serves bundles: the HTTP service (`service.http.app`), the command line, and a client (`service.client`).

Importing this package alone loads neither Keras nor FastAPI, so that a program may import the client cheaply.
"""

VERSION = "0.3.0"
"""The project's version, held by a test to pyproject.toml, which a container does not have."""
