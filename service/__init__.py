"""Serves bundles over HTTP: `create_app` in `service.app`, `python -m service`, and a client in `service.client`.

Importing this package alone loads neither Keras nor FastAPI, so that a program may import the client cheaply.
"""

VERSION = "0.2.0"
"""The project's version, held by a test to pyproject.toml, which a container does not have."""
