"""The load generator: requests over keep-alive connections, in closed or open loop."""
