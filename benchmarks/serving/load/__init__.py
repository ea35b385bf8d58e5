"""The load generator: real requests over keep-alive connections, and how long each was answered after it was due."""
